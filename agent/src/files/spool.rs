//! Contents that came ahead of the push that names them.

use std::{
    collections::HashMap,
    io::{self, Read, Seek, Write},
};

use playhouse_protocol::agent::{Change, Content, Hash, Node};

use super::{core::Core, temp::Temp};

/// The most transfers that are open at once.
const TRANSFERS: usize = 1024;

#[derive(Debug)]
struct Transfer {
    temp: Temp,
    hasher: blake3::Hasher,
    bytes: u64,
    uses: usize,
}

/// What has come and is not yet used.
#[derive(Debug, Default)]
pub struct Spool {
    transfers: HashMap<u64, Result<Transfer, io::Error>>,
}

impl Spool {
    /// Takes a piece. What goes wrong is told when the content is used.
    pub fn piece(&mut self, core: &Core, number: u64, bytes: &[u8]) {
        if !self.transfers.contains_key(&number) && self.transfers.len() >= TRANSFERS {
            return;
        }
        let most = core.settings().max_file_bytes;
        let transfer = self.transfers.entry(number).or_insert_with(|| {
            Ok(Transfer { temp: core.root.temp()?, hasher: blake3::Hasher::new(), bytes: 0, uses: 0 })
        });
        let Ok(open) = transfer else { return };
        open.bytes += bytes.len() as u64;
        let written = if open.bytes > most {
            Err(io::Error::other(format!("more than {most} bytes")))
        } else {
            open.hasher.update(bytes);
            open.temp.file.write_all(bytes)
        };
        if let Err(error) = written {
            *transfer = Err(error);
        }
    }

    /// Counts how often each transfer is used by these changes; the last use takes it.
    pub fn expect(&mut self, changes: &[Change]) {
        for change in changes {
            if let Change::Put { content: Some(Content::Transfer(number)), .. } = change
                && let Some(Ok(transfer)) = self.transfers.get_mut(number)
            {
                transfer.uses += 1;
            }
        }
    }

    /// A change's content as a file ready to be placed, checked against its hash.
    ///
    /// # Errors
    /// It never came, is not what the hash says, or the disk is full.
    pub fn content(&mut self, core: &Core, node: &Node, content: Option<Content>) -> io::Result<Option<Temp>> {
        let Node::File { hash, size, .. } = node else { return Ok(None) };
        match content {
            None => Ok(None),
            Some(Content::Inline(bytes)) => {
                if blake3::hash(&bytes).as_bytes() != hash {
                    return Err(mismatch());
                }
                let mut temp = core.root.temp()?;
                temp.file.write_all(&bytes)?;
                Ok(Some(temp))
            }
            Some(Content::Transfer(number)) => self.transfer(core, number, hash, *size).map(Some),
        }
    }

    fn transfer(&mut self, core: &Core, number: u64, hash: &Hash, size: u64) -> io::Result<Temp> {
        let Some(entry) = self.transfers.remove(&number) else {
            // An empty file has no pieces.
            if size == 0 && blake3::hash(b"").as_bytes() == hash {
                return core.root.temp();
            }
            return Err(io::Error::other("its content never came"));
        };
        let mut transfer = entry?;
        if transfer.bytes != size || transfer.hasher.finalize().as_bytes() != hash {
            return Err(mismatch());
        }
        if transfer.uses > 1 {
            transfer.uses -= 1;
            let copy = copy_of(core, &mut transfer.temp)?;
            self.transfers.insert(number, Ok(transfer));
            return Ok(copy);
        }
        Ok(transfer.temp)
    }

    /// Forgets everything: numbers mean nothing on another stream.
    pub fn clear(&mut self) {
        self.transfers.clear();
    }
}

fn mismatch() -> io::Error {
    io::Error::other("its content is not what its hash says")
}

/// A second file with the same bytes.
///
/// # Errors
/// The disk is full.
pub fn copy_of(core: &Core, temp: &mut Temp) -> io::Result<Temp> {
    let mut copy = core.root.temp()?;
    temp.file.rewind()?;
    io::copy(&mut (&mut temp.file).take(u64::MAX), &mut copy.file)?;
    Ok(copy)
}
