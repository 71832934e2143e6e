//! Imports against domains (SPINE 3.3.3).
//!
//! A domain that was not granted is not there: the linker answers the same for it as for a symbol
//! nobody has, only that it says more to the person who reads it.

use spine_abi::interface::{Domain, Domains, Interface, MODULE_PREFIX, Value};
use spine_abi::manifest::Manifest;
use wasmparser::{FuncType, ValType};

use crate::domain::{Policy, find, list};
use crate::linker::error::LinkError;
use crate::linker::module::{Module, symbol};
use crate::linker::name::printable;

/// What the extension gets: all that its manifest asks for, and `core`.
///
/// # Errors
/// [`LinkError::DomainRefused`] where the policy grants less.
pub(crate) fn domains(manifest: &Manifest<'_>, policy: &Policy) -> Result<Domains, LinkError> {
    let wanted = manifest.domains().with(Domain::Core);
    let granted = policy.granted();
    match wanted.iter().find(|domain| !granted.contains(*domain)) {
        None => Ok(wanted),
        Some(refused) => Err(LinkError::DomainRefused {
            extension: printable(manifest.name()),
            domain: refused.name(),
            granted: list(granted),
        }),
    }
}

/// The interface behind each imported function, in the order of the imports.
///
/// # Errors
/// [`LinkError::UnknownImport`], [`LinkError::UngrantedImport`], [`LinkError::WrongSignature`].
pub(crate) fn resolve(
    module: &Module<'_>,
    granted: Domains,
) -> Result<Vec<&'static Interface>, LinkError> {
    let mut interfaces = Vec::with_capacity(module.imports.len());
    for (import, function) in module.imports.iter().zip(0..) {
        let symbol = symbol(import);
        let tried = list(granted);
        let domain = import.module.strip_prefix(MODULE_PREFIX).and_then(Domain::from_name);
        let Some(interface) = domain.and_then(|domain| find(domain, import.name)) else {
            return Err(LinkError::UnknownImport { symbol, tried });
        };
        if !granted.contains(interface.domain) {
            return Err(LinkError::UngrantedImport {
                symbol,
                interface: interface.name,
                domain: interface.domain.name(),
                tried,
            });
        }
        let found = module.function_type(function);
        if !found.is_some_and(|ty| matches(ty, interface)) {
            return Err(LinkError::WrongSignature {
                symbol,
                expected: interface_text(interface),
                found: found.map_or_else(|| "no function".to_owned(), signature_text),
            });
        }
        interfaces.push(interface);
    }
    Ok(interfaces)
}

fn matches(found: &FuncType, interface: &Interface) -> bool {
    let same = |found: &ValType, wanted: &Value| *found == value_type(*wanted);
    found.params().len() == interface.parameters.len()
        && found.params().iter().zip(interface.parameters).all(|(f, w)| same(f, w))
        && match (found.results(), &interface.result) {
            ([], None) => true,
            ([found], Some(wanted)) => same(found, wanted),
            _ => false,
        }
}

const fn value_type(value: Value) -> ValType {
    match value {
        Value::I32 => ValType::I32,
        Value::I64 => ValType::I64,
    }
}

/// A function type for people: `(i32, i64) -> (i32)`.
pub(crate) fn signature_text(ty: &FuncType) -> String {
    const SHOWN: usize = 16;
    let list = |types: &[ValType]| {
        let mut names: Vec<_> = types.iter().take(SHOWN).map(ToString::to_string).collect();
        if types.len() > SHOWN {
            names.push("…".to_owned());
        }
        names.join(", ")
    };
    format!("({}) -> ({})", list(ty.params()), list(ty.results()))
}

fn interface_text(interface: &Interface) -> String {
    let types = |values: &[Value]| values.iter().copied().map(value_type).collect::<Vec<_>>();
    let results = types(interface.result.as_slice());
    signature_text(&FuncType::new(types(interface.parameters), results))
}
