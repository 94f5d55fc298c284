//! `x-scope` of every operation that needs an API key: by the sentence of its description where the
//! operation does not say it as an extension.

use utoipa::{
    Modify,
    openapi::{self, extensions::ExtensionsBuilder, path::Operation},
};

/// Adds it.
pub(super) struct Scopes;

impl Modify for Scopes {
    fn modify(&self, api: &mut openapi::OpenApi) {
        for item in api.paths.paths.values_mut() {
            let operations =
                [&mut item.get, &mut item.post, &mut item.put, &mut item.delete, &mut item.patch];
            operations.into_iter().flatten().for_each(declare);
        }
    }
}

fn declare(operation: &mut Operation) {
    let known = operation.extensions.as_ref().is_some_and(|all| all.contains_key("x-scope"));
    let text = [&operation.summary, &operation.description].into_iter().flatten();
    let scope = text.filter_map(|text| text.split_once("Scope `")?.1.split('`').next()).next();
    if let (false, Some(scope)) = (known, scope) {
        let own = ExtensionsBuilder::new().add("x-scope", scope).build();
        match &mut operation.extensions {
            Some(extensions) => extensions.merge(own),
            None => operation.extensions = Some(own),
        }
    }
}
