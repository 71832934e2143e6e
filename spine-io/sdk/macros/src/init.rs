//! `#[init]`: only a check; `extension!` names the function.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, ItemFn, ReturnType};

use crate::handler::plain;

const FORM: &str = "the initialisation is `fn init(setup: &mut Init)`";

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "`#[init]` takes no arguments"));
    }
    let function: ItemFn = syn::parse2(item).map_err(|error| Error::new(error.span(), FORM))?;
    plain(&function.sig, FORM)?;
    if function.sig.inputs.len() != 1 || !matches!(function.sig.output, ReturnType::Default) {
        return Err(Error::new_spanned(&function.sig, FORM));
    }
    let name = &function.sig.ident;
    Ok(quote! {
        #function

        const _: fn(&mut ::spine_sdk::Init) = #name;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_but_the_form_is_answered_with_the_form() {
        for item in ["fn init() {}", "fn init(s: &mut Init) -> u32 { 0 }", "const INIT: u32 = 1;"] {
            let error = expand(TokenStream::new(), item.parse().unwrap()).unwrap_err();
            assert_eq!(error.to_string(), FORM, "{item}");
        }
        assert!(expand(TokenStream::new(), "fn init(s: &mut Init) {}".parse().unwrap()).is_ok());
    }
}
