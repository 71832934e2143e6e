//! `#[handler]`: the function as it is, and its declaration beside it.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::{Error, Expr, ExprLit, FnArg, ItemFn, Lit, ReturnType, Signature, Token};

const FORM: &str = "a handler is `fn name(context: Context, message: &mut Message<'_>) -> Verdict`";
const USAGE: &str =
    "write `#[handler(number)]` or `#[handler(number, prefix = 64, writeback = 34)]`";

struct Arguments {
    number: Expr,
    prefix: Option<Expr>,
    writeback: Option<Expr>,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.is_empty() {
            return Err(input.error(USAGE));
        }
        let mut parsed = Self { number: input.parse()?, prefix: None, writeback: None };
        if let Expr::Assign(assignment) = &parsed.number {
            return Err(Error::new_spanned(assignment, format!("the number comes first: {USAGE}")));
        }
        while !input.is_empty() {
            input.parse::<Token![,]>()?;
            if input.is_empty() {
                break;
            }
            let key: Ident = input.parse()?;
            let field = match key.to_string().as_str() {
                "prefix" => &mut parsed.prefix,
                "writeback" => &mut parsed.writeback,
                _ => return Err(Error::new(key.span(), USAGE)),
            };
            if field.is_some() {
                return Err(Error::new(key.span(), "given twice"));
            }
            input.parse::<Token![=]>()?;
            *field = Some(input.parse()?);
        }
        Ok(parsed)
    }
}

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let Arguments { number, prefix, writeback } = syn::parse2(arguments)?;
    let function: ItemFn = syn::parse2(item).map_err(|error| Error::new(error.span(), FORM))?;
    plain(&function.sig, FORM)?;
    if function.sig.inputs.len() != 2 || matches!(function.sig.output, ReturnType::Default) {
        return Err(Error::new_spanned(&function.sig, FORM));
    }
    if literal(&number) == Some(0) {
        return Err(Error::new_spanned(number, "handler numbers start at 1"));
    }
    let zero = || syn::parse_quote!(0);
    let (prefix, writeback) = (prefix.unwrap_or_else(zero), writeback.unwrap_or_else(zero));
    if let (Some(seen), Some(written)) = (literal(&prefix), literal(&writeback))
        && written > seen
    {
        let text = "writeback is larger than prefix: only what is seen is written back";
        return Err(Error::new_spanned(writeback, text));
    }
    let (visibility, name) = (&function.vis, &function.sig.ident);
    let declaration = declaration_of(name);
    Ok(quote! {
        #function

        #[doc(hidden)]
        #visibility const #declaration: ::spine_sdk::HandlerDeclaration =
            ::spine_sdk::declare(#number, #prefix, #writeback);

        const _: () = ::spine_sdk::is_handler(#name);
    })
}

/// The name of the constant that declares the handler `name`.
pub(crate) fn declaration_of(name: &Ident) -> Ident {
    format_ident!("__HANDLER_{}", name.to_string().to_uppercase(), span = name.span())
}

/// Refuses what makes a function more than a plain one.
pub(crate) fn plain(signature: &Signature, form: &str) -> syn::Result<()> {
    let odd = signature.asyncness.is_some()
        || signature.unsafety.is_some()
        || signature.abi.is_some()
        || signature.variadic.is_some()
        || signature.generics.type_params().next().is_some()
        || signature.generics.const_params().next().is_some()
        || signature.inputs.iter().any(|input| matches!(input, FnArg::Receiver(_)));
    if odd { Err(Error::new_spanned(signature, form)) } else { Ok(()) }
}

fn literal(expression: &Expr) -> Option<u64> {
    match expression {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => number.base10_parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(arguments: &str, item: &str) -> String {
        expand(arguments.parse().unwrap(), item.parse().unwrap()).unwrap_err().to_string()
    }

    const GOOD: &str = "fn look(c: Context, m: &mut Message<'_>) -> Verdict { Verdict::Done }";

    #[test]
    fn a_handler_gets_a_declaration_beside_it() {
        let out = expand("2, prefix = 64".parse().unwrap(), GOOD.parse().unwrap()).unwrap();
        let out = out.to_string();
        assert!(out.contains("__HANDLER_LOOK"), "{out}");
        assert!(out.contains("declare (2 , 64 , 0)"), "{out}");
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (arguments, expected) in [
            ("", "write `#[handler(number)]`"),
            ("0", "start at 1"),
            ("1, prefix = 20, writeback = 21", "larger than prefix"),
            ("1, size = 20", "write `#[handler(number)]`"),
            ("prefix = 20", "the number comes first"),
            ("1, prefix = 2, prefix = 3", "given twice"),
        ] {
            let text = refusal(arguments, GOOD);
            assert!(text.contains(expected), "#[handler({arguments})]: {text}");
        }
    }

    #[test]
    fn anything_but_the_form_is_answered_with_the_form() {
        for item in [
            "fn look() -> Verdict { Verdict::Done }",
            "fn look(c: Context, m: &mut Message<'_>) {}",
            "async fn look(c: Context, m: &mut Message<'_>) -> Verdict { Verdict::Done }",
            "unsafe fn look(c: Context, m: &mut Message<'_>) -> Verdict { Verdict::Done }",
            "fn look<T>(c: Context, m: &mut Message<'_>) -> Verdict { Verdict::Done }",
            "fn look(&self, m: &mut Message<'_>) -> Verdict { Verdict::Done }",
            "extern \"C\" fn look(c: Context, m: &mut Message<'_>) -> Verdict { Verdict::Done }",
            "struct Look;",
        ] {
            assert_eq!(refusal("1", item), FORM, "{item}");
        }
    }
}
