/// Lets all threads allocate from two arenas, where the allocator is glibc's: it would make one for each thread, and each
/// keeps what was once freed in it. To be called before there are threads.
pub fn keep_few_arenas() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "no crate offers mallopt alone")]
    // SAFETY: no pointers; a value that isn't taken leaves everything as it was.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

/// Gives the pages that nothing uses back to the system, where the allocator is glibc's: after the start, when much was freed
/// that lies between what is kept. It takes milliseconds.
pub fn return_free_memory() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "no crate offers malloc_trim alone")]
    // SAFETY: no pointers; what is in use stays where it is.
    unsafe {
        libc::malloc_trim(0);
    }
}
