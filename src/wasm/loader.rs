//! A model from its files' bytes.

use super::engine::Engine;
use super::hex;
use crate::error::Error;
use crate::generate::Scheduler;
use crate::model::{Config, Loader, Reference};
use crate::tokenizer::Tokenizer;
use std::rc::Rc;
use wasm_bindgen::prelude::wasm_bindgen;

/// Takes the bytes of one weights file in order, in chunks of any size, and
/// never holds the file.
#[wasm_bindgen]
#[derive(Default)]
pub struct ModelLoader {
    config: Option<Config>,
    loader: Option<Loader>,
    tokenizer: Option<Tokenizer>,
}

#[wasm_bindgen]
impl ModelLoader {
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// `config.json`; safetensors need it before their first bytes. A model that
    /// does not fit is refused here, before its weights are fetched.
    #[wasm_bindgen(js_name = setConfig)]
    pub fn set_config(&mut self, config_json: &[u8]) -> Result<(), Error> {
        let config = Config::from_json(config_json)?;
        config.require_memory()?;
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
        let config = &mut self.config;
        self.loader
            .get_or_insert_with(|| Loader::new(config.take()))
            .push(chunk)
    }

    /// The model, once every byte was pushed.
    pub fn finish(self) -> Result<Engine, Error> {
        let loader = self.loader.unwrap_or_else(|| Loader::new(self.config));
        let mut loaded = loader.finish()?;
        let tokenizer = match (self.tokenizer, loaded.tokenizer) {
            (Some(tokenizer), _) => Some(tokenizer),
            (None, Some(lists)) => Some(Tokenizer::from_lists(
                lists.tokens,
                lists.merges,
                &lists.special,
            )?),
            (None, None) => None,
        };
        loaded
            .config
            .default_eos(tokenizer.as_ref().and_then(Tokenizer::end_of_text));
        let model = Reference::new(loaded.config, loaded.weights)?;
        let scheduler = Scheduler::new(
            Box::new(model),
            tokenizer.map(Rc::new),
            super::engine::milliseconds,
        );
        Ok(Engine::new(scheduler, hex(&loaded.sha256)))
    }
}
