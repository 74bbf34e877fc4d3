//! Memory beside pages that may not be touched.

/// Zeroed memory whose end (or start) lies against a page that faults when it is read or written.
pub struct Guarded {
    pub data: *mut u8,
    pub bytes: usize,
    map: *mut u8,
    mapped: usize,
}

#[cfg(unix)]
impl Guarded {
    /// `at_end`: the forbidden page comes behind rather than before.
    pub fn zeroed(bytes: usize, at_end: bool) -> Guarded {
        use libc::{MAP_ANON, MAP_FAILED, MAP_PRIVATE, PROT_NONE, PROT_READ, PROT_WRITE};
        // SAFETY: fresh memory of our own; it is unmapped when this is dropped.
        unsafe {
            let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
            let mapped = bytes.next_multiple_of(page) + 2 * page;
            let flags = MAP_PRIVATE | MAP_ANON;
            let map = libc::mmap(std::ptr::null_mut(), mapped, PROT_NONE, flags, -1, 0);
            assert!(map != MAP_FAILED, "no memory");
            let map = map.cast::<u8>();
            let inner = mapped - 2 * page;
            if inner > 0 {
                let result = libc::mprotect(map.add(page).cast(), inner, PROT_READ | PROT_WRITE);
                assert_eq!(result, 0, "mprotect");
            }
            let start = if at_end { page + inner - bytes } else { page };
            Guarded { data: map.add(start), bytes, map, mapped }
        }
    }
}

#[cfg(unix)]
impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: mapped in `zeroed`, and nothing refers to it any more.
        unsafe { libc::munmap(self.map.cast(), self.mapped) };
    }
}

#[cfg(not(unix))]
impl Guarded {
    /// Without the forbidden pages.
    pub fn zeroed(bytes: usize, _: bool) -> Guarded {
        let map = vec![0u64; bytes.div_ceil(8) + 1].leak().as_mut_ptr().cast();
        Guarded { data: map, bytes, map, mapped: bytes }
    }
}

impl Guarded {
    pub fn contents(&self) -> &[u8] {
        // SAFETY: owned and initialised.
        unsafe { std::slice::from_raw_parts(self.data, self.bytes) }
    }

    pub fn fill(&self, byte: u8) {
        // SAFETY: owned.
        unsafe { self.data.write_bytes(byte, self.bytes) };
    }
}
