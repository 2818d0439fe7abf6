//! All weights of a model in one buffer, as the engine runs them.
//!
//! The buffer is what is kept on the device for the next start: it is read
//! back straight into its place, and its checksum and length are all that has
//! to be checked, since any bytes in it are numbers.

use super::kernels::linear::{RelaxedDot, relaxed_dot};
use super::kernels::quantize::BLOCK;
use super::matrix::{Encoding, GROUP, Matrix};
use super::pack::Packer;
use crate::error::{Error, Result};
use crate::model::aligned::{AlignedBytes, LINE};
use crate::model::sink::Sink;
use crate::model::{Config, Dtype, names};
use std::collections::HashMap;

/// Where a weight stands in the buffer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Place {
    Matrix {
        offset: usize,
        encoding: Encoding,
        rows: usize,
        columns: usize,
    },
    /// f32, `rows` of `width` numbers, each padded with zeros to `stride`.
    Floats {
        offset: usize,
        rows: usize,
        width: usize,
        stride: usize,
    },
}

impl Place {
    fn bytes(&self) -> usize {
        match *self {
            Self::Matrix {
                encoding,
                rows,
                columns,
                ..
            } => encoding.matrix_bytes(rows, columns),
            Self::Floats { rows, stride, .. } => rows * stride * size_of::<f32>(),
        }
    }

    fn offset(&self) -> usize {
        let (Self::Matrix { offset, .. } | Self::Floats { offset, .. }) = *self;
        offset
    }

    fn end(&self) -> usize {
        (self.offset() + self.bytes()).next_multiple_of(LINE)
    }
}

/// The weights, packed.
#[derive(Debug)]
pub struct Packed {
    config: Config,
    dtype: Dtype,
    places: HashMap<String, Place>,
    bytes: AlignedBytes,
    filling: Option<(Place, Filling)>,
}

#[derive(Debug)]
enum Filling {
    Matrix(Packer),
    /// Numbers done.
    Floats(usize),
}

impl Packed {
    /// Room for the weights of a model. Error: `out-of-memory`.
    pub fn zeroed(config: &Config, dtype: Dtype) -> Result<Self> {
        let offset_form = relaxed_dot() == RelaxedDot::Unsigned;
        let places = places(config, dtype, offset_form)?;
        let bytes = places.values().map(Place::end).max().unwrap_or(0);
        Ok(Self {
            config: config.clone(),
            dtype,
            places,
            bytes: AlignedBytes::zeroed(bytes, "for the weights")?,
            filling: None,
        })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Puts right what the file could not know by itself.
    pub fn set_config(&mut self, config: Config) {
        self.config = config;
    }

    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// True where 8-bit weights are stored plus 128.
    pub fn is_offset_form(&self) -> bool {
        self.places.values().any(|place| {
            matches!(place, Place::Matrix { encoding, .. } if *encoding == Encoding::Q8Offset)
        })
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Brings bytes that were stored in the other form into this one's.
    pub fn flip_form(&mut self) {
        for place in self.places.values() {
            if let Place::Matrix {
                offset,
                encoding: encoding @ (Encoding::Q8 | Encoding::Q8Offset),
                ..
            } = *place
            {
                let matrix = &mut self.bytes[offset..offset + place.bytes()];
                for block in matrix.chunks_exact_mut(encoding.block_bytes()) {
                    for code in &mut block[super::matrix::SCALE_BYTES..] {
                        *code ^= 0x80;
                    }
                }
            }
        }
    }

    /// Where the weight `name` stands.
    pub fn place(&self, name: &str) -> Result<Place> {
        self.places
            .get(name)
            .copied()
            .ok_or_else(|| Error::Internal(format!("{name} has no place")))
    }

    /// The matrix at `place`; panics where that is none.
    pub fn matrix(&self, place: Place) -> Matrix<'_> {
        let Place::Matrix {
            offset,
            encoding,
            rows,
            columns,
        } = place
        else {
            panic!("{place:?} is no matrix")
        };
        let data = &self.bytes[offset..offset + place.bytes()];
        Matrix::new(encoding, rows, columns, data)
    }

    /// Row `row` of the numbers at `place`, with the zeros after it; panics
    /// where that is a matrix.
    pub fn floats(&self, place: Place, row: usize) -> &[f32] {
        let Place::Floats { offset, stride, .. } = place else {
            panic!("{place:?} is a matrix")
        };
        let start = offset / size_of::<f32>() + row * stride;
        &self.bytes.floats()[start..start + stride]
    }
}

/// Places of all weights, one after another in the order they are used.
fn places(config: &Config, dtype: Dtype, offset_form: bool) -> Result<HashMap<String, Place>> {
    let mut places = HashMap::new();
    let mut offset = 0;
    for name in names::all(config) {
        let shape = names::shape(config, &name)
            .ok_or_else(|| Error::Internal(format!("{name} has no shape")))?;
        let is_matrix = names::is_linear(&name) || name == "wte.weight";
        let place = match (shape[..].as_ref(), dtype.encoding()) {
            (&[first, second], Some(encoding)) if is_matrix => {
                // The embedding is `[out, in]`, the others are `[in, out]`.
                let (rows, columns) = if name == "wte.weight" {
                    (first, second)
                } else {
                    (second, first)
                };
                let encoding = match encoding {
                    Encoding::Q8 if offset_form => Encoding::Q8Offset,
                    encoding => encoding,
                };
                Place::Matrix {
                    offset,
                    encoding,
                    rows,
                    columns,
                }
            }
            (&[.., width], _) => Place::Floats {
                offset,
                rows: if shape.len() == 2 { shape[0] } else { 1 },
                width,
                stride: width.next_multiple_of(GROUP.max(BLOCK)),
            },
            (&[], _) => return Err(Error::Internal(format!("{name} has no shape"))),
        };
        offset = place.end();
        places.insert(name, place);
    }
    Ok(places)
}

impl Sink for Packed {
    fn begin(&mut self, name: &str, transposed: bool) -> Result<()> {
        let place = self.place(name)?;
        let filling = match place {
            Place::Matrix {
                encoding,
                rows,
                columns,
                ..
            } => {
                let by_column = name != "wte.weight" && !transposed;
                Filling::Matrix(Packer::new(encoding, rows, columns, by_column))
            }
            Place::Floats { .. } => Filling::Floats(0),
        };
        self.filling = Some((place, filling));
        Ok(())
    }

    fn push(&mut self, numbers: &[f32]) {
        match &mut self.filling {
            Some((place, Filling::Matrix(packer))) => {
                let start = place.offset();
                let out = &mut self.bytes[start..start + place.bytes()];
                packer.push(numbers, out);
            }
            Some((
                Place::Floats {
                    offset,
                    width,
                    stride,
                    ..
                },
                Filling::Floats(done),
            )) => {
                let floats = &mut self.bytes.floats_mut()[*offset / size_of::<f32>()..];
                for &number in numbers {
                    floats[*done / *width * *stride + *done % *width] = number;
                    *done += 1;
                }
            }
            _ => {}
        }
    }

    fn read(&self, name: &str, start: usize, out: &mut [f32]) {
        let Ok(place @ Place::Matrix { columns, .. }) = self.place(name) else {
            return;
        };
        let matrix = self.matrix(place);
        let mut row = vec![0.0; matrix.blocks() * BLOCK];
        let mut decoded = None;
        for (index, out) in (start..).zip(out) {
            if decoded != Some(index / columns) {
                matrix.decode_row(index / columns, &mut row);
                decoded = Some(index / columns);
            }
            *out = row[index % columns];
        }
    }
}
