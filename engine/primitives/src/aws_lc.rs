//! Owners of AWS-LC's objects: each is freed once, and its memory wiped, when it goes out of scope.

use std::ptr::NonNull;

/// An object that `free` gives back.
pub struct Owned<T> {
    pointer: NonNull<T>,
    free: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// None from a null pointer, by which AWS-LC says that it failed.
    ///
    /// # Safety
    /// `pointer` is null, or ours alone and of the kind that `free` takes.
    pub unsafe fn new(pointer: *mut T, free: unsafe extern "C" fn(*mut T)) -> Option<Owned<T>> {
        NonNull::new(pointer).map(|pointer| Owned { pointer, free })
    }

    pub fn get(&self) -> *mut T {
        self.pointer.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: `new` was promised that it is ours and of this kind.
        unsafe { (self.free)(self.pointer.as_ptr()) }
    }
}

/// The result of a call that says 1 if it succeeded.
pub fn succeeded(result: std::os::raw::c_int) -> Option<()> {
    (result == 1).then_some(())
}
