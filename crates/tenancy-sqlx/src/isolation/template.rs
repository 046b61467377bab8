use tenancy_core::{InvalidName, TenantId};

use super::{Identifier, without_case};

/// How the name of a tenant's database, schema or file comes from its id, where the catalogue names none.
///
/// The text has `{id}` once. What stands around it is so short that every id fits, so that nothing is ever cut and two ids
/// never give one name.
///
/// ```
/// use tenancy_sqlx::isolation::NameTemplate;
///
/// let template = NameTemplate::new("customer_{id}")?;
/// assert_eq!(template.name_of(&"acme".parse()?).as_str(), "customer_acme");
/// assert!(NameTemplate::new("customers").is_err());
/// # Ok::<(), tenancy_core::InvalidName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameTemplate {
    before: Box<str>,
    after: Box<str>,
}

const MARK: &str = "{id}";

impl NameTemplate {
    /// Checks a template.
    ///
    /// # Errors
    /// When `{id}` does not stand in it once, when the longest id would not fit, or when it has a NUL.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let fault = |reason| InvalidName::new("template of names", text, reason);
        let (before, after) = text
            .split_once(MARK)
            .filter(|(_, after)| !after.contains(MARK))
            .ok_or_else(|| fault("{id} must stand in it once"))?;
        if before.len() + TenantId::MAX_LEN + after.len() > Identifier::MAX_BYTES {
            return Err(fault("beside {id} it may have 15 bytes"));
        }
        if text.contains('\0') {
            return Err(fault("it has a NUL"));
        }
        Ok(Self {
            before: before.into(),
            after: after.into(),
        })
    }

    pub(super) fn standard(after: &str) -> Self {
        Self {
            before: "tenant_".into(),
            after: after.into(),
        }
    }

    /// The name that the id leads to. Allocates.
    #[expect(
        clippy::expect_used,
        reason = "the template is so short that every id fits, and neither has a NUL"
    )]
    pub fn name_of(&self, id: &TenantId) -> Identifier {
        Identifier::new(&format!("{}{id}{}", self.before, self.after)).expect("every id fits")
    }

    /// The id that leads to a name, if one does.
    pub fn id_of(&self, name: &str) -> Option<TenantId> {
        let id = name.strip_prefix(&*self.before)?.strip_suffix(&*self.after)?;
        TenantId::new(id).ok()
    }

    /// The same for a name that some servers take for one which an id leads to: letters of either case count as one.
    pub(super) fn id_like(&self, name: &str) -> Option<TenantId> {
        let [name, before, after] = [name, &self.before, &self.after].map(without_case);
        let id = name.strip_prefix(&before)?.strip_suffix(&after)?;
        TenantId::new(id).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn templates_leave_room_for_every_id() {
        for good in ["{id}", "tenant_{id}", "{id}.db", "a{id}b", "seven__{id}eight___"] {
            assert!(NameTemplate::new(good).is_ok(), "{good}");
        }
        for bad in ["", "tenant", "{id}{id}", "a\0{id}", "sixteen_________{id}"] {
            assert!(NameTemplate::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_that_servers_may_take_for_one_are_found() {
        let template = NameTemplate::new("Customer_{id}.db").unwrap();
        let acme = TenantId::new("acme").unwrap();
        for (name, is_alike) in [
            ("Customer_acme.db", true),
            ("CUSTOMER_ACME.DB", true),
            // A long s and a sign for kelvin are letters of which case makes others.
            ("cu\u{17f}tomer_acme.db", false),
            ("customer_acme", false),
            ("customer_.db", false),
        ] {
            assert_eq!(template.id_like(name), is_alike.then(|| acme.clone()), "{name}");
        }
        assert_eq!(
            NameTemplate::new("{id}").unwrap().id_like("\u{212a}ILO\u{130}"),
            TenantId::new("kiloi").ok()
        );
    }

    proptest! {
        #[test]
        fn an_id_is_read_back_from_its_name_and_two_ids_never_share_one(
            a in "[a-z0-9_][a-z0-9_-]{0,47}", b in "[a-z0-9_][a-z0-9_-]{0,47}", text in "[a-z_]{0,8}\\{id\\}[a-z_]{0,7}",
        ) {
            let template = NameTemplate::new(&text).unwrap();
            let [first, second] = [&a, &b].map(|id| TenantId::new(id).unwrap());
            let [name, other] = [&first, &second].map(|id| template.name_of(id));
            prop_assert_eq!(template.id_of(name.as_str()), Some(first));
            prop_assert_eq!(a == b, name == other);
        }
    }
}
