//! A model from its files' bytes.

use super::engine::Engine;
use super::hex;
use crate::engine::packed_file::{self, Restored, Restoring};
use crate::error::Error;
use crate::generate::Scheduler;
use crate::model::{Config, Dtype, LoadedWeights, Loader, Model, Reference, TokenizerLists};
use crate::tokenizer::Tokenizer;
use std::rc::Rc;
use wasm_bindgen::prelude::wasm_bindgen;

/// Version of packed models: others are not read.
#[wasm_bindgen(js_name = packedVersion)]
pub fn packed_version() -> u32 {
    packed_file::VERSION
}

/// Takes the bytes of one weights file in order, in chunks of any size, and
/// never holds the file; or takes a packed model back.
#[wasm_bindgen]
pub struct ModelLoader {
    dtype: Dtype,
    config: Option<Config>,
    loader: Option<Loader>,
    restoring: Option<Restoring>,
    tokenizer: Option<Tokenizer>,
}

#[wasm_bindgen]
impl ModelLoader {
    /// For a model that is to run in `dtype`.
    #[wasm_bindgen(constructor)]
    pub fn new(dtype: &str) -> Result<Self, Error> {
        Ok(Self {
            dtype: Dtype::from_name(dtype)?,
            config: None,
            loader: None,
            restoring: None,
            tokenizer: None,
        })
    }

    /// `config.json`; safetensors need it before their first bytes. A model that
    /// does not fit is refused here, before its weights are fetched.
    #[wasm_bindgen(js_name = setConfig)]
    pub fn set_config(&mut self, config_json: &[u8]) -> Result<(), Error> {
        let config = Config::from_json(config_json)?;
        config.require_memory(self.dtype)?;
        self.config = Some(config);
        Ok(())
    }

    #[wasm_bindgen(js_name = setTokenizerJson)]
    pub fn set_tokenizer_json(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.tokenizer = Some(Tokenizer::from_tokenizer_json(bytes)?);
        Ok(())
    }

    #[wasm_bindgen(js_name = setVocabAndMerges)]
    pub fn set_vocab_and_merges(&mut self, vocab: &[u8], merges: &[u8]) -> Result<(), Error> {
        self.tokenizer = Some(Tokenizer::from_vocab_and_merges(vocab, merges)?);
        Ok(())
    }

    /// The weights file's next bytes.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), Error> {
        let (config, dtype) = (&mut self.config, self.dtype);
        self.loader
            .get_or_insert_with(|| Loader::new(config.take(), dtype))
            .push(chunk)
    }

    /// Instead of any `push`: takes back a packed model. Its bytes then belong
    /// at `packedAddress()`.
    #[wasm_bindgen(js_name = beginPacked)]
    pub fn begin_packed(&mut self, header: &[u8]) -> Result<(), Error> {
        self.restoring = Some(Restoring::new(header, self.dtype)?);
        Ok(())
    }

    /// Where in wasm memory the packed bytes are to be put.
    #[wasm_bindgen(js_name = packedAddress)]
    pub fn packed_address(&mut self) -> usize {
        self.restoring
            .as_mut()
            .map_or(0, |restoring| restoring.bytes_mut().as_ptr() as usize)
    }

    /// How many packed bytes there are.
    #[wasm_bindgen(js_name = packedBytes)]
    pub fn packed_bytes(&mut self) -> usize {
        self.restoring
            .as_mut()
            .map_or(0, |restoring| restoring.bytes_mut().len())
    }

    /// The model, once every byte was pushed or put in its place.
    pub fn finish(self) -> Result<Engine, Error> {
        if let Some(restoring) = self.restoring {
            let Restored {
                packed,
                tokenizer: lists,
                source_sha256,
            } = restoring.finish()?;
            let tokenizer = tokenizer(self.tokenizer, lists)?;
            let mut config = packed.config().clone();
            config.default_eos(tokenizer.as_ref().and_then(Tokenizer::end_of_text));
            return engine(
                LoadedWeights::Packed(Box::new(packed)),
                config,
                tokenizer,
                source_sha256,
            );
        }
        let loader = self
            .loader
            .unwrap_or_else(|| Loader::new(self.config, self.dtype));
        let loaded = loader.finish()?;
        let lists = loaded.tokenizer.clone();
        let used = self.tokenizer.is_none();
        let tokenizer = tokenizer(self.tokenizer, loaded.tokenizer)?;
        let mut config = loaded.config;
        config.default_eos(tokenizer.as_ref().and_then(Tokenizer::end_of_text));
        let mut engine = engine(loaded.weights, config, tokenizer, hex(&loaded.sha256))?;
        engine.keep_for_packing(lists.filter(|_| used));
        Ok(engine)
    }
}

/// The tokenizer that was given, else the file's own.
fn tokenizer(
    given: Option<Tokenizer>,
    lists: Option<TokenizerLists>,
) -> Result<Option<Tokenizer>, Error> {
    match (given, lists) {
        (Some(tokenizer), _) => Ok(Some(tokenizer)),
        (None, Some(lists)) => {
            Tokenizer::from_lists(lists.tokens, lists.merges, &lists.special).map(Some)
        }
        (None, None) => Ok(None),
    }
}

fn engine(
    weights: LoadedWeights,
    config: Config,
    tokenizer: Option<Tokenizer>,
    sha256: String,
) -> Result<Engine, Error> {
    let dtype = match &weights {
        LoadedWeights::Tensors(_) => Dtype::F32,
        LoadedWeights::Packed(packed) => packed.dtype(),
    };
    let (model, fast): (Rc<dyn Model>, _) = match weights {
        LoadedWeights::Tensors(weights) => (Rc::new(Reference::new(config, weights)?), None),
        LoadedWeights::Packed(mut packed) => {
            packed.set_config(config);
            let fast = crate::engine::Engine::new(*packed)?.with_clock(super::engine::milliseconds);
            let fast = Rc::new(fast);
            (fast.clone(), Some(fast))
        }
    };
    let clock = super::engine::milliseconds;
    let scheduler = Scheduler::new(model, tokenizer.map(Rc::new), clock);
    Ok(Engine::new(scheduler, dtype, fast, sha256))
}
