//! What an extension may look like, beyond being WebAssembly.
//!
//! The rules keep three promises of the runtime: memory and tables are fixed when the extension is
//! loaded (SPINE 3.4; the ephemeral analysis depends on it), no code runs but through the entries
//! that are guarded, and the runtime can put everything back after it stopped a handler.

use spine_abi::interface::{EXPORT_INIT, EXPORT_MEMORY, EXPORT_RUN, EXPORT_STACK_POINTER};
use spine_abi::limits::{MEMORY_BYTES, PAGE_BYTES, TABLE_ELEMENTS};
use wasmparser::{Export, ExternalKind, TypeRef};

use crate::linker::error::LinkError;
use crate::linker::module::{Module, symbol};
use crate::linker::name::printable;
use crate::linker::resolve::signature_text;

/// Checks all rules; gives the pages of memory the module starts with.
pub(crate) fn validate(module: &Module<'_>) -> Result<u32, LinkError> {
    imports_are_functions(module)?;
    if let Some(start) = module.start {
        return Err(LinkError::StartFunction(module.function_name(start)));
    }
    let pages = memory(module)?;
    tables(module)?;
    exports(module)?;
    entries(module)?;
    instructions(module)?;
    Ok(pages)
}

fn imports_are_functions(module: &Module<'_>) -> Result<(), LinkError> {
    for import in &module.imports {
        let kind = match import.ty {
            TypeRef::Func(_) | TypeRef::FuncExact(_) => continue,
            TypeRef::Table(_) => "table",
            TypeRef::Memory(_) => "memory",
            TypeRef::Global(_) => "global",
            TypeRef::Tag(_) => "tag",
        };
        return Err(LinkError::ImportKind { symbol: symbol(import), kind });
    }
    Ok(())
}

fn memory(module: &Module<'_>) -> Result<u32, LinkError> {
    let [memory] = module.memories.as_slice() else {
        return Err(LinkError::Memories(module.memories.len()));
    };
    let limit = (MEMORY_BYTES / PAGE_BYTES) as u64;
    let over = LinkError::OverLimit { what: "pages of memory", found: memory.initial, limit };
    let pages = u32::try_from(memory.initial).map_err(|_| over.clone())?;
    if memory.initial > limit {
        return Err(over);
    }
    if let Some(maximum) = memory.maximum {
        return Err(LinkError::MemoryMaximum(maximum));
    }
    let exported =
        |export: &Export<'_>| export.kind == ExternalKind::Memory && export.name == EXPORT_MEMORY;
    if module.exports.iter().any(exported) { Ok(pages) } else { Err(LinkError::MemoryNotExported) }
}

fn tables(module: &Module<'_>) -> Result<(), LinkError> {
    let over = |what, found, limit| Err(LinkError::OverLimit { what, found, limit });
    if module.tables.len() > 1 {
        return over("tables", module.tables.len() as u64, 1);
    }
    match module.tables.first() {
        Some(table) if table.initial > TABLE_ELEMENTS as u64 => {
            over("elements of the table", table.initial, TABLE_ELEMENTS as u64)
        }
        _ => Ok(()),
    }
}

fn exports(module: &Module<'_>) -> Result<(), LinkError> {
    for export in &module.exports {
        let kind = match export.kind {
            ExternalKind::Func | ExternalKind::FuncExact => continue,
            ExternalKind::Memory if export.name == EXPORT_MEMORY => continue,
            ExternalKind::Global if export.name == EXPORT_STACK_POINTER => continue,
            ExternalKind::Global if !is_mutable(module, export.index) => continue,
            ExternalKind::Global => "mutable global",
            ExternalKind::Memory => "memory under another name",
            ExternalKind::Table => "table",
            ExternalKind::Tag => "tag",
        };
        return Err(LinkError::Export { name: printable(export.name), kind });
    }
    Ok(())
}

fn is_mutable(module: &Module<'_>, global: u32) -> bool {
    module.globals.get(global as usize).is_none_or(|ty| ty.mutable)
}

fn entries(module: &Module<'_>) -> Result<(), LinkError> {
    for name in [EXPORT_RUN, EXPORT_INIT] {
        let Some(export) = module.exports.iter().find(|export| export.name == name) else {
            if name == EXPORT_RUN {
                return Err(LinkError::NoRun);
            }
            continue;
        };
        let ty = match export.kind {
            ExternalKind::Func => module.function_type(export.index),
            _ => None,
        };
        if !ty.is_some_and(|ty| ty.params().is_empty() && ty.results().is_empty()) {
            let found = ty.map_or_else(|| "something else".to_owned(), signature_text);
            return Err(LinkError::EntryType { name, found });
        }
        // An entry that is an import itself would run with nothing of the extension's around it.
        if module.imported(export.index).is_some() {
            return Err(LinkError::EntryType { name, found: "an import".to_owned() });
        }
    }
    Ok(())
}

fn instructions(module: &Module<'_>) -> Result<(), LinkError> {
    for (function, body) in (module.imported_functions()..).zip(&module.bodies) {
        if let Some((instruction, reason)) = body.refused {
            let function = u32::try_from(function)
                .map_or_else(|_| function.to_string(), |index| module.function_name(index));
            return Err(LinkError::Instruction { function, instruction, reason });
        }
    }
    Ok(())
}
