//! What an extension exports to others (SPINE 3.3.3).
//!
//! Its manifest declares one domain and the interfaces in it; the module has a function
//! `DOMAIN.INTERFACE` for each, with that very type. Like all exports they are roots of the ephemeral
//! analysis: whoever calls one may be stopped in it. And no call comes back to where it came from: an
//! extension that is being called has the state of a call half done.

use spine_abi::interface::Domain;
use spine_abi::limits::NESTING;
use spine_abi::manifest::Manifest;
use wasmparser::ExternalKind;

use crate::domain::Exports;
use crate::linker::error::LinkError;
use crate::linker::module::Module;
use crate::linker::resolve::{declared, declared_text, signature_text};

/// Checks the exported domain, if there is one, and that calls neither go in a circle nor too deep.
///
/// # Errors
/// [`LinkError::DomainBuiltIn`], [`LinkError::InterfaceMissing`], [`LinkError::InterfaceType`],
/// [`LinkError::Circle`], [`LinkError::TooDeep`].
pub(crate) fn check(
    module: &Module<'_>,
    manifest: &Manifest<'_>,
    links: &[&str],
    exports: &Exports,
) -> Result<(), LinkError> {
    for link in links {
        if 1 + exports.depth(link, NESTING) > NESTING {
            return Err(LinkError::TooDeep { domain: (*link).to_owned(), limit: NESTING });
        }
    }
    let Some(own) = manifest.exports() else { return Ok(()) };
    let domain = own.name();
    if Domain::from_name(domain).is_some() {
        return Err(LinkError::DomainBuiltIn(domain.to_owned()));
    }
    if let Some(through) = links.iter().find(|link| exports.is_reached(link, domain)) {
        let (domain, through) = (domain.to_owned(), (*through).to_owned());
        return Err(LinkError::Circle { domain, through });
    }
    for interface in own.interfaces() {
        let symbol = format!("{domain}.{}", interface.name);
        let export = module.exports.iter().find(|export| export.name == symbol);
        let export = export.ok_or_else(|| LinkError::InterfaceMissing(symbol.clone()))?;
        let own = export.kind == ExternalKind::Func && module.imported(export.index).is_none();
        let found = module.function_type(export.index).filter(|_| own);
        if !found.is_some_and(|ty| declared(ty, interface.signature)) {
            return Err(LinkError::InterfaceType {
                symbol,
                expected: declared_text(interface.signature),
                found: found.map_or_else(|| "no function of its own".to_owned(), signature_text),
            });
        }
    }
    Ok(())
}
