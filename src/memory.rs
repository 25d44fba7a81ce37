//! The program's allocator, and how it gives memory back. Rows are many small allocations that are made on one thread and
//! freed on another, and whole cuts of them go at once.
//!
//! Huge pages are off (`no_thp`): with them a few rows keep megabytes. Together with [`give_back_soon`] an indexer under
//! load takes 260 MiB where it took 470, and no more time for it.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// mimalloc's `mi_option_purge_delay`, in milliseconds; the bindings name stable options only.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// How long free pages are kept, in milliseconds. Kept for a second, the default, an indexer takes half as much again for
/// what it has let go meanwhile; let go at once, searches, which need the same memory soon again, take a quarter longer.
const DELAY: std::ffi::c_long = 10;

/// Has free pages go back to the system after [`DELAY`]. To be called before anything else.
#[expect(
    unsafe_code,
    reason = "the allocator's options can be set by its C interface or the environment only"
)]
pub(crate) fn give_back_soon() {
    // SAFETY: the call writes one number of a table of options; any number is a valid delay.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, DELAY) }
}

#[cfg(test)]
mod tests {
    #[test]
    #[expect(unsafe_code, reason = "as above")]
    fn the_option_is_the_one_that_is_meant() {
        super::give_back_soon();
        // SAFETY: reads one number of a table of options. Its neighbours keep their defaults.
        let options =
            [14, super::PURGE_DELAY, 16].map(|option| unsafe { libmimalloc_sys::mi_option_get(option) });
        assert_eq!(options, [1, super::DELAY, 0]);
    }
}
