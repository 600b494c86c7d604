//! Puts a compiled filter on the calling process, for good: its children inherit it and none of them can take it off.

use std::io;

use super::bpf::Instruction;

/// Loads `program` on the calling thread. It must have `no_new_privs` set; the kernel refuses otherwise.
///
/// # Errors
/// What the kernel said; nothing is loaded then.
pub fn load(program: &[Instruction]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::Error::other("the filter is too long"))?;
    let filter = libc::sock_fprog { len: length, filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut() };
    #[allow(unsafe_code, reason = "no safe wrapper has seccomp(2); the kernel only reads what is pointed to")]
    // SAFETY: `filter` points to `length` instructions, laid out as the kernel's, which live through the call.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0_u64, std::ptr::from_ref(&filter)) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
