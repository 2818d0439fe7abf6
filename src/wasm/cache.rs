//! The core of the response cache; see `pkg/src/cache/core.ts` for what its host
//! makes of it.

use crate::cache::canonical::canonical;
use crate::cache::core::{Core, inspect, plan, to_json};
use crate::cache::entry::NewEntry;
use crate::cache::invalidation::Invalidation;
use crate::cache::key::Key;
use crate::cache::metrics::word;
use crate::cache::record::Value;
use crate::cache::settings::Settings;
use crate::cache::signature;
use crate::error::{Error, Result};
use serde_json::json;
use wasm_bindgen::prelude::{JsCast, JsValue, wasm_bindgen};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(typescript_type = "string | Uint8Array")]
    pub type JsCacheValue;
}

#[wasm_bindgen]
pub struct ResponseCacheCore {
    core: Core,
}

#[wasm_bindgen]
impl ResponseCacheCore {
    /// Settings in JSON.
    #[wasm_bindgen(constructor)]
    pub fn new(settings: &str, now: f64) -> Result<Self> {
        let core = Core::new(Settings::parse(settings)?, time(now));
        Ok(Self { core })
    }

    pub fn configure(&mut self, settings: &str, now: f64) -> Result<()> {
        self.core.configure(Settings::parse(settings)?, time(now));
        Ok(())
    }

    /// A number of `Found`.
    pub fn find(
        &mut self,
        key: &str,
        now: f64,
        chance: f64,
        stale: bool,
        count: bool,
    ) -> Result<u32> {
        let key = Key::parse(key)?;
        Ok(self.core.find(&key, time(now), chance, stale, count) as u32)
    }

    #[wasm_bindgen(js_name = foundValue)]
    pub fn found_value(&self) -> Result<JsCacheValue> {
        let (record, _, _) = self.core.at_hand()?;
        let value: JsValue = match record.value()? {
            Value::Text(text) => text[..].into(),
            Value::Bytes(bytes) => js_sys::Uint8Array::from(&bytes[..]).into(),
        };
        Ok(value.unchecked_into())
    }

    #[wasm_bindgen(js_name = foundEntry)]
    pub fn found_entry(&self) -> Result<String> {
        let (record, used, pinned) = self.core.at_hand()?;
        to_json(&record.view(used, pinned, &[]))
    }

    #[wasm_bindgen(js_name = foundRecord)]
    pub fn found_record(&self) -> Result<js_sys::Uint8Array> {
        let (record, _, _) = self.core.at_hand()?;
        Ok(record.bytes().into())
    }

    /// An entry in JSON, its value as text or bytes.
    pub fn insert(
        &mut self,
        entry: &str,
        value: JsCacheValue,
        vector: Option<Vec<f32>>,
        now: f64,
        chance: f64,
    ) -> Result<()> {
        let new: NewEntry = serde_json::from_str(entry)
            .map_err(|error| Error::argument("entry", error.to_string()))?;
        let value = value_of(&value)?;
        self.core.insert(new, &value, vector, time(now), chance)
    }

    /// A number of `Found`. What the layer did is counted by `observe`.
    pub fn admit(
        &mut self,
        key: &str,
        record: Vec<u8>,
        layer: &str,
        now: f64,
        chance: f64,
        stale: bool,
    ) -> Result<u32> {
        let key = Key::parse(key)?;
        let found = self
            .core
            .admit(&key, record, layer, time(now), chance, stale)?;
        Ok(found as u32)
    }

    pub fn delete(&mut self, keys: Vec<String>) -> Result<usize> {
        let keys: Result<Vec<Key>> = keys.iter().map(|key| Key::parse(key)).collect();
        Ok(self.core.delete(&keys?))
    }

    pub fn clear(&mut self) {
        self.core.clear();
    }

    pub fn sweep(&mut self, now: f64) -> usize {
        self.core.sweep(time(now))
    }

    /// Keys that an `Invalidation` in JSON names.
    pub fn matching(&self, invalidation: &str, now: f64) -> Result<Vec<String>> {
        let invalidation = Invalidation::parse(invalidation)?;
        let keys = self.core.matching(&invalidation, time(now));
        Ok(keys.iter().map(Key::to_string).collect())
    }

    #[wasm_bindgen(js_name = setPinned)]
    pub fn set_pinned(&mut self, key: &str, pinned: bool) -> Result<bool> {
        Ok(self.core.set_pinned(&Key::parse(key)?, pinned))
    }

    pub fn entries(&self) -> Result<String> {
        self.core.entries()
    }

    #[wasm_bindgen(js_name = takeEvents)]
    pub fn take_events(&mut self) -> Result<String> {
        to_json(&self.core.take_events())
    }

    pub fn similar(
        &mut self,
        family: &str,
        prompt: &str,
        vector: Vec<f32>,
        now: f64,
    ) -> Result<Option<String>> {
        let similar = self.core.similar(family, prompt, vector, time(now));
        let json = similar.map(|similar| {
            to_json(&json!({
                "key": Key(similar.key),
                "score": similar.score,
                "prompt": similar.prompt,
                "guard": similar.guard,
            }))
        });
        json.transpose()
    }

    #[wasm_bindgen(js_name = addVector)]
    pub fn add_vector(
        &mut self,
        key: &str,
        family: &str,
        prompt: &str,
        vector: Vec<f32>,
    ) -> Result<()> {
        let key = Key::parse(key)?;
        self.core.add_vector(&key, family, prompt, vector);
        Ok(())
    }

    pub fn observe(&mut self, layer: &str, what: &str, ms: f64) -> Result<()> {
        self.core.metrics.observe(layer, word(what)?, ms);
        Ok(())
    }

    pub fn answered(
        &mut self,
        what: &str,
        model: Option<String>,
        ms: f64,
        saved_ms: f64,
        saved_tokens: f64,
    ) -> Result<()> {
        let (answer, tokens) = (word(what)?, saved_tokens as u64);
        let metrics = &mut self.core.metrics;
        metrics.answered(answer, model.as_deref(), ms, saved_ms, tokens);
        Ok(())
    }

    pub fn stats(&self) -> Result<String> {
        to_json(&self.core.stats())
    }

    #[wasm_bindgen(js_name = resetStats)]
    pub fn reset_stats(&mut self, now: f64) {
        self.core.reset_stats(time(now));
    }

    pub fn prometheus(&self) -> String {
        self.core.prometheus()
    }

    pub fn canonical(json: &str) -> Result<String> {
        canonical(json)
    }

    pub fn key(json: &str) -> Result<String> {
        Ok(Key::of(json)?.to_string())
    }

    pub fn inspect(record: Vec<u8>) -> Result<String> {
        inspect(record)
    }

    pub fn sign(record: &[u8], secret: &str) -> Result<Vec<u8>> {
        signature::sign(record, secret)
    }

    pub fn verify(signed: &[u8], secret: &str) -> Result<js_sys::Uint8Array> {
        Ok(signature::verify(signed, secret)?.into())
    }

    #[wasm_bindgen(js_name = cleanUp)]
    pub fn clean_up(request: &str) -> Result<String> {
        plan(request)
    }
}

/// Milliseconds of JavaScript's clock, whole.
fn time(now: f64) -> u64 {
    now as u64
}

fn value_of(value: &JsValue) -> Result<Value<'static>> {
    if let Some(text) = value.as_string() {
        return Ok(Value::Text(text.into()));
    }
    match value.dyn_ref::<js_sys::Uint8Array>() {
        Some(bytes) => Ok(Value::Bytes(bytes.to_vec().into())),
        None => Err(Error::argument("value", "it is neither text nor bytes")),
    }
}
