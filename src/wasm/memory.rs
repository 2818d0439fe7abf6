//! How much of the WebAssembly memory is in use.
//!
//! The memory only grows, and the allocator does not tell what is free in it, so
//! what is handed out is counted here.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all is done by `System`; counting touches none of its memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps to the contract of `alloc`.
        counted(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps to the contract of `alloc_zeroed`.
        counted(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) };
        ALLOCATED.fetch_sub(layout.size(), Relaxed);
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps to the contract of `realloc`.
        let moved = counted(unsafe { System.realloc(pointer, layout, size) }, size);
        if !moved.is_null() {
            ALLOCATED.fetch_sub(layout.size(), Relaxed);
        }
        moved
    }
}

fn counted(pointer: *mut u8, size: usize) -> *mut u8 {
    if !pointer.is_null() {
        ALLOCATED.fetch_add(size, Relaxed);
    }
    pointer
}

/// Bytes that are handed out.
pub fn allocated_bytes() -> u64 {
    ALLOCATED.load(Relaxed) as u64
}

/// Bytes of the whole memory.
pub fn wasm_bytes() -> u64 {
    const PAGE: u64 = 64 << 10;
    core::arch::wasm32::memory_size::<0>() as u64 * PAGE
}

/// Bytes before the heap: constants, variables and the first stack.
pub fn static_bytes() -> u64 {
    unsafe extern "C" {
        // The linker's; there is nothing behind it, only its address counts.
        static __heap_base: u8;
    }
    (&raw const __heap_base) as usize as u64
}
