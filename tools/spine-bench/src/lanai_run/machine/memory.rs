//! Reading and writing: places and blocks of memory.

use lanai_model::board::HostWrite;
use lanai_model::cpu::Width;

use super::Machine;
use crate::lanai_run::blocks::{Block, dump};
use crate::lanai_run::place::{Place, size};
use crate::lanai_run::statement::Space;
use crate::lanai_run::value;

/// Where the special registers are in the board's PCI space.
const REGISTERS: u32 = 0x0C_0000;

impl Machine {
    pub(super) fn write(&mut self, place: Place, width: Width, value: u32) -> Result<(), String> {
        if self.pio && matches!(place, Place::Sram(_) | Place::Register(_) | Place::Bar(_)) {
            self.board.advance(self.board.config().pio_write);
        }
        let answer = match place {
            Place::Sram(at) => {
                self.board.sram_mut().store(at, width, value);
                HostWrite::Done
            }
            Place::Register(register) => self.board.host_write(REGISTERS + register, width, value),
            Place::Bar(at) => self.board.host_write(at, width, value),
            Place::Host(at) => return self.write_host(at, low_bytes(&value.to_be_bytes(), width)),
            Place::Cpu(number) => {
                self.board.cpu_mut().set_register(number, value);
                HostWrite::Done
            }
            Place::Irq | Place::Irqs => return Err(format!("{place} cannot be written")),
        };
        match answer {
            HostWrite::Done => {}
            HostWrite::Nowhere => self.say(&format!("note: nothing is at {place}")),
            HostWrite::Retry => self.say(&format!(
                "note: {place} refused {value:#010x}: the hardware FIFO is full or off"
            )),
        }
        Ok(())
    }

    fn write_host(&mut self, at: u32, bytes: &[u8]) -> Result<(), String> {
        if self.board.host_mut().poke(at, bytes) {
            return Ok(());
        }
        Err("the host's memory is full: at most 256 MB in pages of 4 KB".to_owned())
    }

    pub(super) fn read(&mut self, place: Place, width: Width) -> u32 {
        if self.pio && matches!(place, Place::Sram(_) | Place::Register(_) | Place::Bar(_)) {
            self.board.advance(self.board.config().pio_read);
        }
        match place {
            Place::Sram(at) => self.board.sram().load(at, width).unwrap_or(0),
            Place::Register(register) => self.board.host_read(REGISTERS + register, width),
            Place::Bar(at) => self.board.host_read(at, width),
            Place::Host(at) => {
                let mut bytes = [0; 4];
                let low = 4 - size(width) as usize;
                if let Some(low) = bytes.get_mut(low..) {
                    self.board.host().peek(at, low);
                }
                u32::from_be_bytes(bytes)
            }
            Place::Cpu(number) => self.board.cpu().register(number),
            Place::Irq => u32::from(self.board.host().interrupted()),
            Place::Irqs => u32::try_from(self.board.host().interrupts()).unwrap_or(u32::MAX),
        }
    }

    pub(super) fn block(
        &mut self,
        space: Space,
        block: &Block,
    ) -> Result<Result<(), String>, String> {
        match block {
            Block::Write { address, bytes } => self.put(space, *address, bytes)?,
            Block::Fill { address, length, byte } => {
                self.put(space, *address, &vec![*byte; *length as usize])?
            }
            Block::Load { address, file } => {
                let bytes = std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
                self.put(space, *address, &bytes)?;
            }
            Block::Dump { address, length, file: None } => {
                let name = if space == Space::Host { "hostmem" } else { "sram" };
                let bytes = self.get(space, *address, *length);
                dump(name, *address, &bytes).iter().for_each(|line| self.say(line));
            }
            Block::Dump { address, length, file: Some(file) } => {
                std::fs::write(file, self.get(space, *address, *length))
                    .map_err(|e| format!("{}: {e}", file.display()))?;
            }
            Block::Expect { address, bytes } => {
                self.expectations += 1;
                let found =
                    self.get(space, *address, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
                if found != *bytes {
                    let (expected, found) = (value::hex(bytes), value::hex(&found));
                    return Ok(Err(format!(
                        "expected at {address:#010x}: {expected}, found: {found}"
                    )));
                }
            }
        }
        Ok(Ok(()))
    }

    fn put(&mut self, space: Space, address: u32, bytes: &[u8]) -> Result<(), String> {
        if space == Space::Host {
            return self.write_host(address, bytes);
        }
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        match self.board.sram_mut().slice_mut(address, length) {
            Some(to) => to.copy_from_slice(bytes),
            None => {
                return Err(format!(
                    "{} bytes at {address:#x} go beyond the board's memory",
                    bytes.len()
                ));
            }
        }
        Ok(())
    }

    fn get(&self, space: Space, address: u32, length: u32) -> Vec<u8> {
        match space {
            Space::Sram => self.board.sram().slice(address, length).unwrap_or(&[]).to_vec(),
            Space::Host => {
                let mut bytes = vec![0; length as usize];
                self.board.host().peek(address, &mut bytes);
                bytes
            }
        }
    }
}

fn low_bytes(bytes: &[u8; 4], width: Width) -> &[u8] {
    bytes.get(4 - size(width) as usize..).unwrap_or(&[])
}
