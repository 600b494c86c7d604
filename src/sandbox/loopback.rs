//! Loop devices: a file as a block device, for as long as something is mounted from it.

use std::{
    fs, io,
    os::{fd::AsRawFd, unix::fs::FileTypeExt},
    path::{Path, PathBuf},
};

const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4c82;
const LOOP_CONFIGURE: libc::c_ulong = 0x4c0a;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LOOP_MAJOR: u32 = 7;
/// How often another process may take the free device first before that is an error.
const TRIES: u32 = 64;

/// The kernel's `struct loop_config`, whose middle is `struct loop_info64`.
#[repr(C)]
struct LoopConfig {
    descriptor: u32,
    block_size: u32,
    device_inode_rdevice_offset_sizelimit: [u64; 5],
    number: u32,
    encryption: [u32; 2],
    flags: u32,
    names_and_key: [u8; 160],
    init: [u64; 2],
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<LoopConfig>() == 304);

/// A loop device that carries an image. It detaches itself when its last user is gone: this descriptor, or what is
/// mounted from it.
pub(super) struct Attached {
    /// Keeps the device until something is mounted from it.
    _device: fs::File,
    /// Its path.
    pub(super) path: PathBuf,
}

/// Attaches `image` to a free loop device.
pub(super) fn attach(image: &Path) -> io::Result<Attached> {
    let backing = fs::OpenOptions::new().read(true).write(true).open(image)?;
    let control = fs::OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
    for _ in 0..TRIES {
        let number = ioctl(&control, LOOP_CTL_GET_FREE, std::ptr::null_mut())?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = open(&path, number)?;
        let mut config = LoopConfig {
            descriptor: backing.as_raw_fd().cast_unsigned(),
            block_size: 0,
            device_inode_rdevice_offset_sizelimit: [0; 5],
            number: 0,
            encryption: [0; 2],
            flags: LO_FLAGS_AUTOCLEAR,
            names_and_key: [0; 160],
            init: [0; 2],
            reserved: [0; 8],
        };
        match ioctl(&device, LOOP_CONFIGURE, std::ptr::from_mut(&mut config).cast()) {
            Ok(_) => return Ok(Attached { _device: device, path }),
            // Another process was faster with this one.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("every free loop device was taken by another process first"))
}

/// Opens the device, after making its node where /dev doesn't do that by itself (in containers).
fn open(path: &Path, number: i32) -> io::Result<fs::File> {
    let options = || fs::OpenOptions::new().read(true).write(true).open(path);
    match options() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let device = nix::sys::stat::makedev(u64::from(LOOP_MAJOR), u64::from(number.cast_unsigned()));
            let mode = nix::sys::stat::Mode::from_bits_truncate(0o660);
            match nix::sys::stat::mknod(path, nix::sys::stat::SFlag::S_IFBLK, mode, device) {
                Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
                Err(error) => return Err(error.into()),
            }
            options()
        }
        Ok(file) if !file.metadata()?.file_type().is_block_device() => {
            Err(io::Error::other(format!("{} is no block device", path.display())))
        }
        other => other,
    }
}

#[allow(unsafe_code, reason = "no safe wrapper has the loop driver's requests")]
fn ioctl(file: &fs::File, request: libc::c_ulong, argument: *mut libc::c_void) -> io::Result<i32> {
    // SAFETY: both requests used here take nothing, or a pointer to a `loop_config` that lives through the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), request as _, argument) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
