//! Imports against domains (SPINE 3.3.3).
//!
//! A domain that was not granted is not there: the linker answers the same for it as for a symbol
//! nobody has, only that it says more to the person who reads it. `spine:NAME` is a domain of the runtime;
//! a plain name is one that another extension exports.

use spine_abi::declaration::{DomainDeclaration, InterfaceDeclaration, Signature};
use spine_abi::interface::{Domain, Domains, Interface, MODULE_PREFIX, Value};
use spine_abi::limits::LINKS;
use spine_abi::manifest::Manifest;
use wasmparser::{FuncType, Import, ValType};

use crate::domain::{Exports, Policy, find};
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
            granted: granted.to_string(),
        }),
    }
}

/// What a module's imports are.
pub(crate) struct Resolved<'e> {
    /// The interface behind each imported function, in the order of the imports; `None` for one that
    /// another extension exports. Those are ephemeral, every one.
    pub interfaces: Vec<Option<&'static Interface>>,
    /// The names of the domains of other extensions among them.
    pub links: Vec<&'e str>,
    declarations: Vec<DomainDeclaration<'e>>,
}

impl Resolved<'_> {
    /// The links of the image.
    pub(crate) fn links_bytes(&self) -> Vec<u8> {
        self.declarations.iter().flat_map(|link| link.as_bytes().iter().copied()).collect()
    }
}

/// Finds each import in the domains granted, the runtime's and those of other extensions.
///
/// # Errors
/// [`LinkError::UnknownImport`], [`LinkError::UngrantedImport`], [`LinkError::DomainMissing`],
/// [`LinkError::DomainUngranted`], [`LinkError::InterfaceUnknown`], [`LinkError::WrongSignature`],
/// [`LinkError::OverLimit`].
pub(crate) fn resolve<'e>(
    module: &Module<'_>,
    granted: Domains,
    exports: &'e Exports,
) -> Result<Resolved<'e>, LinkError> {
    let tried = || {
        let exported = exports.granted().map(|name| format!("{name} (exported)"));
        [granted.to_string()].into_iter().chain(exported).collect::<Vec<_>>().join(", ")
    };
    let mut resolved =
        Resolved { interfaces: Vec::new(), links: Vec::new(), declarations: Vec::new() };
    for (import, function) in module.imports.iter().zip(0..) {
        let found = module.function_type(function);
        match import.module.strip_prefix(MODULE_PREFIX) {
            Some(domain) => {
                let interface = runtime(import, domain, granted, &tried)?;
                if !found.is_some_and(|ty| matches(ty, interface)) {
                    return Err(wrong_signature(import, interface_text(interface), found));
                }
                resolved.interfaces.push(Some(interface));
            }
            None => {
                let (domain, interface) = exported(import, exports, &tried)?;
                if !found.is_some_and(|ty| declared(ty, interface.signature)) {
                    return Err(wrong_signature(import, declared_text(interface.signature), found));
                }
                resolved.interfaces.push(None);
                if !resolved.links.contains(&domain.name()) {
                    resolved.links.push(domain.name());
                    resolved.declarations.push(domain);
                }
            }
        }
    }
    at_most_links(resolved.links.len())?;
    Ok(resolved)
}

/// Refuses more domains of other extensions than one may be linked against.
pub(crate) fn at_most_links(found: usize) -> Result<(), LinkError> {
    let (what, limit) = ("domains of other extensions", LINKS);
    if found > limit {
        return Err(LinkError::OverLimit { what, found: found as u64, limit: limit as u64 });
    }
    Ok(())
}

/// An interface of the runtime.
fn runtime(
    import: &Import<'_>,
    domain: &str,
    granted: Domains,
    tried: &dyn Fn() -> String,
) -> Result<&'static Interface, LinkError> {
    let (symbol, tried) = (symbol(import), tried());
    let Some(interface) = Domain::from_name(domain).and_then(|domain| find(domain, import.name))
    else {
        return Err(LinkError::UnknownImport { symbol, tried });
    };
    if !granted.contains(interface.domain) {
        let (domain, interface) = (interface.domain.name(), interface.name);
        return Err(LinkError::UngrantedImport { symbol, interface, domain, tried });
    }
    Ok(interface)
}

/// An interface that another extension exports, and its domain.
fn exported<'e>(
    import: &Import<'_>,
    exports: &'e Exports,
    tried: &dyn Fn() -> String,
) -> Result<(DomainDeclaration<'e>, InterfaceDeclaration<'e>), LinkError> {
    let (symbol, domain, tried) = (symbol(import), printable(import.module), tried());
    let Some((declaration, granted)) = exports.find(import.module) else {
        return Err(LinkError::DomainMissing { symbol, domain, tried });
    };
    if !granted {
        return Err(LinkError::DomainUngranted { symbol, domain, tried });
    }
    let Some((_, interface)) = declaration.find(import.name) else {
        let has = declaration.interfaces().map(|it| it.name).collect::<Vec<_>>().join(", ");
        return Err(LinkError::InterfaceUnknown { symbol, domain, has, tried });
    };
    Ok((declaration, interface))
}

fn wrong_signature(import: &Import<'_>, expected: String, found: Option<&FuncType>) -> LinkError {
    let found = found.map_or_else(|| "no function".to_owned(), signature_text);
    LinkError::WrongSignature { symbol: symbol(import), expected, found }
}

fn matches(found: &FuncType, interface: &Interface) -> bool {
    let wanted = interface.parameters.iter().copied();
    same(found.params(), wanted) && same(found.results(), interface.result.into_iter())
}

/// Whether a function has the type that an exported interface was declared with.
pub(crate) fn declared(found: &FuncType, signature: Signature) -> bool {
    same(found.params(), signature.parameters())
        && same(found.results(), signature.result().into_iter())
}

fn same(found: &[ValType], wanted: impl ExactSizeIterator<Item = Value>) -> bool {
    found.len() == wanted.len() && found.iter().zip(wanted).all(|(f, w)| *f == value_type(w))
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
    type_text(interface.parameters.iter().copied(), interface.result)
}

/// The type of an exported interface, for people.
pub(crate) fn declared_text(signature: Signature) -> String {
    type_text(signature.parameters(), signature.result())
}

fn type_text(parameters: impl Iterator<Item = Value>, result: Option<Value>) -> String {
    signature_text(&FuncType::new(parameters.map(value_type), result.map(value_type)))
}
