//! Fixture files by their path under `tests/fixtures`, wherever they are:
//! on disk natively, fetched by the page in a browser.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

type Read = dyn Fn(&str) -> Option<Vec<u8>>;

/// Gives the bytes of a fixture.
pub struct Fixtures {
    read: Box<Read>,
}

impl Fixtures {
    pub fn new(read: impl Fn(&str) -> Option<Vec<u8>> + 'static) -> Self {
        Self {
            read: Box::new(read),
        }
    }

    /// The file's bytes. Panics where it is missing: a check without its
    /// fixture must fail.
    pub fn bytes(&self, path: &str) -> Vec<u8> {
        (self.read)(path).unwrap_or_else(|| panic!("no fixture {path}"))
    }

    /// The file as JSON of the type asked for.
    pub fn json<T: for<'de> Deserialize<'de>>(&self, path: &str) -> T {
        serde_json::from_slice(&self.bytes(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }
}

/// `{"f32_b64", "shape"}`: little-endian f32 in C order.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RawArray")]
pub struct Array {
    pub values: Vec<f32>,
    pub shape: Vec<usize>,
}

#[derive(Deserialize)]
struct RawArray {
    f32_b64: String,
    shape: Vec<usize>,
}

impl TryFrom<RawArray> for Array {
    type Error = String;

    fn try_from(raw: RawArray) -> Result<Self, String> {
        let bytes = STANDARD.decode(&raw.f32_b64).map_err(|e| e.to_string())?;
        let values: Vec<f32> = bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        if values.len() != raw.shape.iter().product::<usize>() {
            return Err(format!("{} values for shape {:?}", values.len(), raw.shape));
        }
        Ok(Self {
            values,
            shape: raw.shape,
        })
    }
}
