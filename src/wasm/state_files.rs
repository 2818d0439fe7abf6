//! States to files and back, a piece at a time.

use super::engine::Engine;
use super::states::now;
use crate::error::{Error, Result};
use crate::model::BlockName;
use crate::state::export::Export;
use crate::state::import::{Import, read_json};
use crate::state::record::{self, Kind};
use wasm_bindgen::prelude::wasm_bindgen;

/// A binary file in the making.
#[wasm_bindgen]
pub struct StateExport {
    head: Vec<u8>,
    export: Export,
}

#[wasm_bindgen]
impl StateExport {
    /// The first bytes.
    pub fn head(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.head)
    }

    /// Names of the blocks to come, in order.
    pub fn blocks(&self) -> Vec<String> {
        self.export
            .blocks
            .iter()
            .map(BlockName::to_string)
            .collect()
    }

    /// The last bytes.
    pub fn finish(self) -> Vec<u8> {
        self.export.finish()
    }
}

/// A binary file being read: once to check it, and once more to take it in.
#[wasm_bindgen]
pub struct StateImport {
    import: Import,
}

#[wasm_bindgen]
impl StateImport {
    /// A first reading; or with what the first has ended with, the second.
    #[wasm_bindgen(constructor)]
    pub fn new(origin: Option<String>) -> Result<Self> {
        let import = match origin {
            None => Import::check(),
            Some(origin) => Import::take(name(&origin)?),
        };
        Ok(Self { import })
    }
}

fn name(text: &str) -> Result<BlockName> {
    text.parse()
        .map_err(|reason| Error::Internal(format!("a block's name is {reason}")))
}

#[wasm_bindgen]
impl Engine {
    /// A file in JSON.
    #[wasm_bindgen(js_name = exportJson)]
    pub fn export_json(&self, ids: Vec<String>) -> Result<Vec<u8>> {
        let tokenizer = self.scheduler.tokenizer().ok();
        self.states.states.export_json(&ids, tokenizer, now())
    }

    /// Begins a binary file.
    #[wasm_bindgen(js_name = beginExport)]
    pub fn begin_export(&mut self, ids: Vec<String>, kv: bool) -> Result<StateExport> {
        let blocks = self.scheduler.blocks();
        let (head, export) = self.states.states.export(&ids, kv, blocks, now())?;
        Ok(StateExport { head, export })
    }

    /// The bytes of the next block; `undefined` where it is not in memory and
    /// what storage has of it is wanted: a record, or nothing at all in an empty
    /// one.
    #[wasm_bindgen(js_name = exportBlock)]
    pub fn export_block(
        &mut self,
        export: &mut StateExport,
        block: &str,
        stored: Option<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>> {
        let name = name(block)?;
        let piece = match (self.scheduler.blocks().get(&name), &stored) {
            (Some(block), _) => export.export.block(&name, Some(block)),
            (None, None) => return Ok(None),
            (None, Some(stored)) => {
                let content = record::unseal(Kind::Block, stored).ok();
                export.export.block(&name, content)
            }
        };
        Ok(Some(piece))
    }

    /// Takes the next bytes of a file.
    #[wasm_bindgen(js_name = importPush)]
    pub fn import_push(&mut self, import: &mut StateImport, bytes: &[u8]) -> Result<()> {
        let (model, _, blocks) = self.scheduler.parts();
        let vocab_size = model.config().vocab_size;
        let empty = model.new_kv();
        import
            .import
            .push(bytes, &self.states.states, &empty, vocab_size, blocks)
    }

    /// Ends a first reading; what the second is to begin with.
    #[wasm_bindgen(js_name = importChecked)]
    pub fn import_checked(&self, import: StateImport) -> Result<String> {
        Ok(import.import.finish()?.1.to_string())
    }

    /// Ends a second reading and takes the states in; their ids.
    #[wasm_bindgen(js_name = importFinish)]
    pub fn import_finish(&mut self, import: StateImport, persist: bool) -> Result<Vec<String>> {
        let (manifest, origin) = import.import.finish()?;
        let vocab_size = self.scheduler.model().config().vocab_size;
        let states = &mut self.states.states;
        states.import(manifest, origin, persist, vocab_size, now())
    }

    /// Takes in the states of a file in JSON; their ids.
    #[wasm_bindgen(js_name = importJson)]
    pub fn import_json(&mut self, bytes: &[u8], persist: bool) -> Result<Vec<String>> {
        let (manifest, origin) = read_json(bytes)?;
        let vocab_size = self.scheduler.model().config().vocab_size;
        let states = &mut self.states.states;
        states.import(manifest, origin, persist, vocab_size, now())
    }
}
