//! The functions that a preloaded library stands before.

use std::ffi::{CStr, c_void};
use std::sync::OnceLock;

/// A function of another library.
pub(crate) struct Original<Function> {
    name: &'static CStr,
    /// Looked for once.
    found: OnceLock<Option<Function>>,
}

impl<Function: Copy> Original<Function> {
    /// The function of this name.
    ///
    /// # Safety
    /// `Function` is a pointer to a function, and of the type that it has there.
    pub(crate) const unsafe fn named(name: &'static CStr) -> Self {
        Self {
            name,
            found: OnceLock::new(),
        }
    }

    /// The next one after this library, in the order in which libraries were loaded; `None` where none has it.
    pub(crate) fn get(&self) -> Option<Function> {
        let find = || {
            // SAFETY: the name ends with a zero.
            let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
            if found.is_null() {
                return None;
            }
            // SAFETY: it is a function of this type, as `named` was promised; pointers to functions are as large as others here.
            Some(unsafe { std::mem::transmute_copy::<*mut c_void, Function>(&found) })
        };
        *self.found.get_or_init(find)
    }
}
