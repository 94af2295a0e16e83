//! AES-GCM by Intel's multi-buffer library, `libIPSec_MB`, which is found while the engine starts:
//! where a machine has it, it seals a packet of 1,400 octets faster than AWS-LC.
//!
//! The library has no stable entry for AES-GCM but function pointers in `struct IMB_MGR`. Its header
//! promises to add new ones at the end only, and the offsets below are those that the headers of 1.3,
//! 1.4, 1.5, 2.0, 2.0.1 and 2.0.2 give to the compiler; those of 3.0 differ. Other versions are
//! therefore left alone. All that is unsafe about it is in this file; `choice` compares what it does
//! with AWS-LC before a packet depends on it.

use std::ffi::{c_char, c_int, c_uint, c_void, CStr};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroize;

use super::Forged;

const SONAMES: [&str; 2] = ["libIPSec_MB.so.2", "libIPSec_MB.so.1"];
/// `IMB_VERSION(1, 3, 0)`, and the first that is not known.
const VERSIONS: std::ops::Range<c_uint> = 0x1_03_00..0x2_01_00;
/// From here on `struct gcm_key_data` has 1264 octets, before 1008.
const LARGER_KEYS: c_uint = 0x1_04_00;

/// Offsets in `struct IMB_MGR` of 64-bit machines; of the functions for keys of 128, 192 and 256
/// bits, which follow each other.
const FEATURES: usize = 8;
const GCM_ENC: usize = 256;
const GCM_DEC: usize = 280;
const GCM_PRE: usize = 448;

/// `IMB_FEATURE_AESNI` and `IMB_FEATURE_PCLMULQDQ`; without them it would be slow.
const NEEDED: u64 = 1 << 1 | 1 << 2;
/// `IMB_FEATURE_AESNI_EMU`.
const EMULATED: u64 = 1 << 19;
/// `IMB_FEATURE_SELF_TEST` and `IMB_FEATURE_SELF_TEST_PASS`.
const SELF_TEST: u64 = 1 << 20;
const SELF_TEST_PASS: u64 = 1 << 21;

const NONCE: usize = 12;
const ICV: usize = 16;

/// `aes_gcm_pre_t`: key, key data.
type Prepare = unsafe extern "C" fn(*const c_void, *mut Line);
/// `aes_gcm_enc_dec_t`: key data, context, out, in, length, IV, additional data, its length, tag,
/// its length.
type Process = unsafe extern "C" fn(
    *const Line,
    *mut Context,
    *mut u8,
    *const u8,
    u64,
    *const u8,
    *const u8,
    u64,
    *mut u8,
    u64,
);

/// A part of `struct gcm_key_data`, which is aligned to 64.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Room for `struct gcm_context_data` (88 octets), which the library fills itself.
#[repr(C, align(64))]
struct Context([u8; 128]);

/// What was found.
pub struct Library {
    version: String,
    prepare: [Prepare; 3],
    encrypt: [Process; 3],
    decrypt: [Process; 3],
    /// Of `struct gcm_key_data`.
    lines: usize,
}

/// An expanded key. It is wiped when it goes.
pub struct Key {
    data: Box<[Line]>,
    encrypt: Process,
    decrypt: Process,
}

impl Library {
    /// Loads it for good, if there is one of a known version that uses the processor's AES.
    pub fn find() -> Option<Library> {
        SONAMES.iter().find_map(|name| Library::load(name))
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    fn load(name: &str) -> Option<Library> {
        // SAFETY: the constructors of this library only fill its own tables.
        let library = unsafe { libloading::Library::new(name) }.ok()?;
        // Never unloaded: the functions are used as long as the process lives.
        let library = ManuallyDrop::new(library);
        // SAFETY: `unsigned imb_get_version(void)` in every version that has it.
        let number = unsafe {
            let get = library
                .get::<unsafe extern "C" fn() -> c_uint>(b"imb_get_version\0")
                .ok()?;
            get()
        };
        if !VERSIONS.contains(&number) {
            return None;
        }
        // SAFETY: `const char *imb_get_version_str(void)` gives a constant string.
        let version = unsafe {
            let get = library
                .get::<unsafe extern "C" fn() -> *const c_char>(b"imb_get_version_str\0")
                .ok()?;
            CStr::from_ptr(get()).to_str().ok()?.to_owned()
        };
        // SAFETY: the prototypes of these four are the same in all of `VERSIONS`.
        let (allocate, initialise, get_error, free) = unsafe {
            (
                library
                    .get::<unsafe extern "C" fn(u64) -> *mut c_void>(b"alloc_mb_mgr\0")
                    .ok()?,
                library
                    .get::<unsafe extern "C" fn(*mut c_void, *mut c_int)>(b"init_mb_mgr_auto\0")
                    .ok()?,
                library
                    .get::<unsafe extern "C" fn(*mut c_void) -> c_int>(b"imb_get_errno\0")
                    .ok()?,
                library
                    .get::<unsafe extern "C" fn(*mut c_void)>(b"free_mb_mgr\0")
                    .ok()?,
            )
        };
        // SAFETY: 0 for no flags; the manager is made, filled, read within its first 480 octets of
        // 26 KB or more, and freed, all here. The pointers read from it are those of functions in
        // the library, not in the manager, and are of the types that the header gives them.
        unsafe {
            let manager = allocate(0);
            if manager.is_null() {
                return None;
            }
            initialise(manager, ptr::null_mut());
            let error = get_error(manager);
            let found = Functions::read(manager.cast::<u8>());
            free(manager);
            let found = found.filter(|_| error == 0)?;
            Some(Library {
                version,
                prepare: found.prepare,
                encrypt: found.encrypt,
                decrypt: found.decrypt,
                lines: if number < LARGER_KEYS { 16 } else { 20 },
            })
        }
    }

    /// From 16, 24 or 32 octets; None for others.
    pub fn key(&self, key: &[u8]) -> Option<Key> {
        let which = match key.len() {
            16 => 0,
            24 => 1,
            32 => 2,
            _ => return None,
        };
        let mut data = vec![Line([0; 64]); self.lines].into_boxed_slice();
        // SAFETY: the key has the length of the function, and `data` the size and alignment of the
        // version's `struct gcm_key_data`.
        unsafe { self.prepare[which](key.as_ptr().cast(), data.as_mut_ptr()) };
        Some(Key {
            data,
            encrypt: self.encrypt[which],
            decrypt: self.decrypt[which],
        })
    }
}

struct Functions {
    prepare: [Prepare; 3],
    encrypt: [Process; 3],
    decrypt: [Process; 3],
}

impl Functions {
    /// # Safety
    /// `manager` is an initialised `struct IMB_MGR` of one of `VERSIONS`.
    unsafe fn read(manager: *const u8) -> Option<Functions> {
        // SAFETY: the offsets are within the structure, aligned, and of fields of these types;
        // `Option` of a function pointer is a pointer that may be null.
        unsafe {
            let features = manager.add(FEATURES).cast::<u64>().read();
            let tested = features & SELF_TEST == 0 || features & SELF_TEST_PASS != 0;
            if features & NEEDED != NEEDED || features & EMULATED != 0 || !tested {
                return None;
            }
            let [a, b, c] = manager.add(GCM_PRE).cast::<[Option<Prepare>; 3]>().read();
            let [d, e, f] = manager.add(GCM_ENC).cast::<[Option<Process>; 3]>().read();
            let [g, h, i] = manager.add(GCM_DEC).cast::<[Option<Process>; 3]>().read();
            Some(Functions {
                prepare: [a?, b?, c?],
                encrypt: [d?, e?, f?],
                decrypt: [g?, h?, i?],
            })
        }
    }
}

impl Key {
    /// Encrypts in place and writes the ICV, or as much of it as there is place for.
    pub fn seal(&self, nonce: &[u8; NONCE], aad: &[u8], text: &mut [u8], icv: &mut [u8]) {
        let tag = self.process(self.encrypt, nonce, aad, text);
        icv.copy_from_slice(&tag[..icv.len()]);
    }

    /// Checks the ICV, or as much of it as is sent, and decrypts in place.
    pub fn open(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        text: &mut [u8],
        icv: &[u8],
    ) -> Result<(), Forged> {
        let tag = self.process(self.decrypt, nonce, aad, text);
        verify_slices_are_equal(&tag[..icv.len()], icv).map_err(|_| {
            // The library decrypts and authenticates in one go; nobody may see what came of it.
            text.fill(0);
            Forged
        })
    }

    fn process(
        &self,
        function: Process,
        nonce: &[u8; NONCE],
        aad: &[u8],
        text: &mut [u8],
    ) -> [u8; ICV] {
        let mut context = MaybeUninit::<Context>::uninit();
        let mut tag = [0; ICV];
        let octets = text.as_mut_ptr();
        // SAFETY: key data and context have size and alignment of theirs, each pointer its length,
        // and input and output may be the same. The key data is only read.
        unsafe {
            function(
                self.data.as_ptr(),
                context.as_mut_ptr(),
                octets,
                octets,
                text.len() as u64,
                nonce.as_ptr(),
                aad.as_ptr(),
                aad.len() as u64,
                tag.as_mut_ptr(),
                ICV as u64,
            );
        }
        tag
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        for line in &mut self.data {
            line.0.zeroize();
        }
    }
}
