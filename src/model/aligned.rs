//! Zeroed memory on cache-line borders, refused with an error where there is
//! none.

use crate::error::{Error, Result};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Bytes of a cache line.
pub const LINE: usize = 64;

/// A buffer of bytes that begins on a cache line.
#[derive(Debug)]
pub struct AlignedBytes {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: it owns its bytes, as a Vec does.
unsafe impl Send for AlignedBytes {}
// SAFETY: as above.
unsafe impl Sync for AlignedBytes {}

impl AlignedBytes {
    /// `purpose` completes the sentence "no memory ...". Error:
    /// `out-of-memory`.
    pub fn zeroed(len: usize, purpose: &str) -> Result<Self> {
        let refused = || Error::OutOfMemory {
            needed: len as u64,
            purpose: purpose.to_owned(),
        };
        if len == 0 {
            return Ok(Self {
                start: NonNull::dangling(),
                len,
            });
        }
        let layout = Layout::from_size_align(len, LINE).map_err(|_| refused())?;
        // SAFETY: the size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(refused)?;
        Ok(Self { start, len })
    }

    /// The bytes as f32.
    pub fn floats(&self) -> &[f32] {
        bytemuck::cast_slice(self)
    }

    /// The bytes as f32.
    pub fn floats_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(self)
    }
}

impl Clone for AlignedBytes {
    /// Aborts where there is no memory, as a Vec's clone does.
    fn clone(&self) -> Self {
        let mut copy = match Self::zeroed(self.len, "for a copy") {
            Ok(copy) => copy,
            Err(_) => std::alloc::handle_alloc_error(Layout::new::<u8>()),
        };
        copy.copy_from_slice(self);
        copy
    }
}

impl Drop for AlignedBytes {
    fn drop(&mut self) {
        if self.len > 0
            && let Ok(layout) = Layout::from_size_align(self.len, LINE)
        {
            // SAFETY: allocated with this layout, and only here given back.
            unsafe { dealloc(self.start.as_ptr(), layout) }
        }
    }
}

impl Deref for AlignedBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: all of it was allocated and is initialised.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}
