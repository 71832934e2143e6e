//! A relocatable object as its file tells it, checked.
//!
//! What a file says are allegations. Here they become sections that hold what they say, symbols in sections that exist, and
//! relocations of places inside their section; everything else is refused with a sentence.

use ::object::elf::{
    ET_REL, FileHeader32, SHF_ALLOC, SHN_ABS, SHN_COMMON, SHN_UNDEF, SHT_NOBITS, STB_LOCAL,
    STB_WEAK,
};
use ::object::read::elf::{ElfFile32, ElfSymbol32, FileHeader as _, SectionHeader as _, Sym as _};
use ::object::{
    BigEndian, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationFlags,
    RelocationTarget, SymbolIndex,
};

use super::error::LinkError;
use super::link::MAX_ALIGN;

/// The number of the architecture in ELF files [SRC: facts 2.4].
const EM_LANAI: u16 = 244;

/// A section that is in memory when the program runs.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: String,
    /// What it holds; nothing if it is all zeros, whatever its size.
    pub(super) bytes: Vec<u8>,
    pub(super) size: u64,
    pub(super) align: u32,
    pub(super) zeros: bool,
    pub(super) relocations: Vec<Relocation>,
    /// Its number in the file, which symbols refer to.
    number: usize,
}

/// A place in a section and what goes there.
#[derive(Debug)]
pub(super) struct Relocation {
    pub(super) offset: u64,
    pub(super) kind: u32,
    /// An index into [`Object::symbols`].
    pub(super) symbol: usize,
    pub(super) addend: i64,
}

/// Where a symbol is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At an offset in one of [`Object::sections`].
    Section { index: usize, offset: u32 },
    /// At an address.
    Absolute(u32),
    /// In another object.
    Undefined { weak: bool },
    /// In a section that is not loaded (debugging information).
    NotLoaded,
}

#[derive(Debug)]
pub(super) struct Symbol {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) local: bool,
    pub(super) weak: bool,
}

/// One object.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) file: String,
    pub(super) sections: Vec<Section>,
    pub(super) symbols: Vec<Symbol>,
}

type File<'data> = ElfFile32<'data, BigEndian>;

impl Object {
    /// Reads `data`; `file` names it in errors.
    pub(super) fn read(file: &str, data: &[u8]) -> Result<Object, LinkError> {
        let unreadable = |error: ::object::Error| LinkError::NotElf {
            file: file.into(),
            reason: error.to_string(),
        };
        // The header first: a file for another processor deserves a better word than "unreadable".
        let header = FileHeader32::<BigEndian>::parse(data).map_err(unreadable)?;
        let endian = header.endian().map_err(unreadable)?;
        let (machine, kind) = (header.e_machine(endian), header.e_type(endian));
        if machine != EM_LANAI || kind != ET_REL {
            return Err(LinkError::NotLanai { file: file.into(), machine, kind });
        }
        let elf = File::parse(data).map_err(unreadable)?;
        let mut object = Object { file: file.into(), sections: Vec::new(), symbols: Vec::new() };
        object.read_sections(&elf)?;
        object.read_symbols(&elf)?;
        object.read_relocations(&elf)?;
        Ok(object)
    }

    fn wrong(&self, section: &str, reason: impl Into<String>) -> LinkError {
        LinkError::Section {
            file: self.file.clone(),
            section: section.into(),
            reason: reason.into(),
        }
    }

    fn read_sections(&mut self, elf: &File<'_>) -> Result<(), LinkError> {
        let endian = elf.endian();
        for section in elf.sections() {
            let header = section.elf_section_header();
            if header.sh_flags(endian) & SHF_ALLOC == 0 {
                continue;
            }
            let number = section.index().0;
            let name =
                section.name().map_or_else(|_| format!("number {number}"), ToOwned::to_owned);
            let align = u32::try_from(section.align().max(1))
                .ok()
                .filter(|align| align.is_power_of_two() && *align <= MAX_ALIGN)
                .ok_or_else(|| {
                    let align = section.align();
                    self.wrong(
                        &name,
                        format!("alignment {align} is no power of two up to {MAX_ALIGN}"),
                    )
                })?;
            let size = section.size();
            let zeros = header.sh_type(endian) == SHT_NOBITS;
            // A file may claim any number of zeros: they are laid out, and counted, later.
            let bytes = if zeros {
                Vec::new()
            } else {
                section.data().map_err(|error| self.wrong(&name, error.to_string()))?.to_vec()
            };
            self.sections.push(Section {
                name,
                bytes,
                size,
                align,
                zeros,
                relocations: Vec::new(),
                number,
            });
        }
        Ok(())
    }

    fn read_symbols(&mut self, elf: &File<'_>) -> Result<(), LinkError> {
        // Relocations name symbols by their number in the table, whose first entry is no symbol.
        for symbol in elf
            .symbol_table()
            .into_iter()
            .flat_map(|table| ::object::ObjectSymbolTable::symbols(&table))
        {
            while self.symbols.len() < symbol.index().0 {
                let place = Place::NotLoaded;
                self.symbols.push(Symbol { name: String::new(), place, local: true, weak: false });
            }
            let symbol = self.read_symbol(elf, &symbol)?;
            self.symbols.push(symbol);
        }
        Ok(())
    }

    fn read_symbol(
        &self,
        elf: &File<'_>,
        symbol: &ElfSymbol32<'_, '_, BigEndian>,
    ) -> Result<Symbol, LinkError> {
        let raw = symbol.elf_symbol();
        let name = String::from_utf8_lossy(symbol.name_bytes().unwrap_or(b"")).into_owned();
        let (binding, value) = (raw.st_bind(), raw.st_value(elf.endian()));
        let weak = binding == STB_WEAK;
        let place = match raw.st_shndx(elf.endian()) {
            SHN_UNDEF => Place::Undefined { weak },
            SHN_ABS => Place::Absolute(value),
            SHN_COMMON => {
                let reason = format!("{name} is a common symbol; compile with -fno-common");
                return Err(self.wrong("(common)", reason));
            }
            _ => {
                let number = symbol.section_index().map(|index| index.0);
                match self.sections.iter().position(|section| Some(section.number) == number) {
                    None => Place::NotLoaded,
                    Some(index) => {
                        let section = &self.sections[index];
                        if u64::from(value) > section.size {
                            let reason = format!("{name} is at {value:#x}, beyond its end");
                            return Err(self.wrong(&section.name, reason));
                        }
                        Place::Section { index, offset: value }
                    }
                }
            }
        };
        Ok(Symbol { name, place, local: binding == STB_LOCAL, weak })
    }

    fn read_relocations(&mut self, elf: &File<'_>) -> Result<(), LinkError> {
        for index in 0..self.sections.len() {
            let Section { name, number, bytes, .. } = &self.sections[index];
            let section = elf
                .section_by_index(::object::SectionIndex(*number))
                .map_err(|error| self.wrong(name, error.to_string()))?;
            let mut relocations = Vec::new();
            for (offset, relocation) in section.relocations() {
                let RelocationFlags::Elf { r_type: kind } = relocation.flags() else { continue };
                if kind == 0 {
                    continue;
                }
                let symbol = match relocation.target() {
                    RelocationTarget::Symbol(SymbolIndex(symbol))
                        if symbol < self.symbols.len() =>
                    {
                        symbol
                    }
                    _ => {
                        return Err(self.wrong(
                            name,
                            format!("the relocation at {offset:#x} names no symbol of the file"),
                        ));
                    }
                };
                if relocation.has_implicit_addend() {
                    let reason = "relocations without addends (SHT_REL), which no compiler for the Lanai emits";
                    return Err(self.wrong(name, reason));
                }
                let end = offset.checked_add(4);
                if end.is_none_or(|end| end > bytes.len() as u64) {
                    let reason = format!("the relocation at {offset:#x} is beyond its end");
                    return Err(self.wrong(name, reason));
                }
                relocations.push(Relocation { offset, kind, symbol, addend: relocation.addend() });
            }
            self.sections[index].relocations = relocations;
        }
        Ok(())
    }
}
