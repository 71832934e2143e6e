//! The module that is compiled: without custom sections, with its stack pointer exported, and with looks at
//! the fuel where they are missing ([`checks`]).
//!
//! When the runtime stops a handler, nobody unwinds what compilers call the shadow stack: each stop
//! would leak a piece of it. So the runtime must be able to put `__stack_pointer` back. Compilers
//! make it a mutable i32 global and name it in the name section, but do not export it by default.
//!
//! Why not guess where the name is missing? A wrong guess would restore some counter of the
//! extension after every stop: a bug that nobody could find. Names and debugging sections stay
//! behind, because the adapter gets no symbol table (SPINE 3.3.3).

use spine_abi::interface::EXPORT_STACK_POINTER;
use wasm_encoder::{CodeSection, ExportKind, ExportSection, RawSection, SectionId};
use wasmparser::{Export, ExternalKind, ValType};

use crate::linker::checks;
use crate::linker::error::LinkError;
use crate::linker::module::{Body, Module};

/// Writes the module again.
///
/// # Errors
/// [`LinkError::StackPointerUnknown`], [`LinkError::StackPointerType`].
pub(crate) fn encode(wasm: &[u8], module: &Module<'_>) -> Result<Vec<u8>, LinkError> {
    let add = stack_pointer_to_export(module)?;
    let mut out = wasm_encoder::Module::new();
    for (id, place) in &module.sections {
        // The places come from the parser, which found them in these bytes.
        let data = wasm.get(place.clone()).unwrap_or_default();
        if *id == SectionId::Export as u8 {
            out.section(&exports(module, add));
        } else if *id == SectionId::Code as u8 {
            out.section(&code(wasm, module));
        } else {
            out.section(&RawSection { id: *id, data });
        }
    }
    Ok(out.finish())
}

/// The global to export as the stack pointer; none where it is exported already, or where there is
/// no shadow stack.
fn stack_pointer_to_export(module: &Module<'_>) -> Result<Option<u32>, LinkError> {
    let is_pointer = |index: u32| {
        let global = module.globals.get(index as usize);
        global.is_some_and(|ty| ty.mutable && ty.content_type == ValType::I32)
    };
    if let Some(export) = module.exports.iter().find(|e| e.name == EXPORT_STACK_POINTER) {
        let sound = export.kind == ExternalKind::Global && is_pointer(export.index);
        return if sound { Ok(None) } else { Err(LinkError::StackPointerType) };
    }
    let candidates = (0..).zip(&module.globals).filter(|(index, _)| is_pointer(*index)).count();
    if candidates == 0 {
        return Ok(None);
    }
    let mut named = module.globals_named(EXPORT_STACK_POINTER).filter(|index| is_pointer(*index));
    match (named.next(), named.next()) {
        (Some(pointer), None) => Ok(Some(pointer)),
        _ => Err(LinkError::StackPointerUnknown(candidates)),
    }
}

fn code(wasm: &[u8], module: &Module<'_>) -> CodeSection {
    let mut section = CodeSection::new();
    for Body { place, looks, .. } in &module.bodies {
        let bytes = wasm.get(place.clone()).unwrap_or_default();
        section.raw(&checks::insert(bytes, place.start, looks));
    }
    section
}

fn exports(module: &Module<'_>, stack_pointer: Option<u32>) -> ExportSection {
    let mut section = ExportSection::new();
    for Export { name, kind, index } in &module.exports {
        let kind = match kind {
            ExternalKind::Func | ExternalKind::FuncExact => ExportKind::Func,
            ExternalKind::Table => ExportKind::Table,
            ExternalKind::Memory => ExportKind::Memory,
            ExternalKind::Global => ExportKind::Global,
            ExternalKind::Tag => ExportKind::Tag,
        };
        section.export(name, kind, *index);
    }
    if let Some(pointer) = stack_pointer {
        section.export(EXPORT_STACK_POINTER, ExportKind::Global, pointer);
    }
    section
}
