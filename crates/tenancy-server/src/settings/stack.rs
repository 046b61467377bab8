//! From settings to a stack.

use std::time::Duration;

use tenancy::{
    core::{Host, TenantId, TenantStore},
    gate::GatePolicy,
    resolve::{DomainOrSubdomain, ResolveSettings, TrustedProxies},
    stack::{ConfigMistake, Order, Stage, TenancyBuilder, check_public_url},
};
use tracing_subscriber::EnvFilter;

use super::model::{Settings, StackSettings};

impl Settings {
    /// Values that can be read and can not work, each with its key.
    pub(super) fn impossible_values(&self) -> Vec<(&'static str, String)> {
        let stack = &self.tenancy;
        let mut found = Vec::new();
        let mut refuse = |key, reason: Option<String>| found.extend(reason.map(|reason| (key, reason)));
        // One by one: each that is wrong is named.
        for base in &stack.base_domains {
            let invalid = DomainOrSubdomain::of(base).err();
            refuse("tenancy.base_domains", invalid.map(|error| error.to_string()));
        }
        let none = stack.base_domains.is_empty();
        refuse(
            "tenancy.base_domains",
            none.then(|| "at least one is needed".to_owned()),
        );
        refuse("tenancy.order", stack.parsed_order().err());
        for stage in &stack.observe {
            let unknown = stage.parse::<Stage>().err();
            refuse("tenancy.observe", unknown.map(|error| error.to_string()));
        }
        for proxy in &stack.trust_proxies {
            let invalid = TrustedProxies::new([proxy.as_str()]).err();
            refuse("tenancy.trust_proxies", invalid.map(|error| error.to_string()));
        }
        for host in stack.central_hosts.iter().flatten() {
            refuse("tenancy.central_hosts", refused_central_host(host));
        }
        let zero = |value: u64| (value == 0).then(|| "it must be above 0".to_owned());
        refuse("tenancy.deadline_ms", zero(stack.deadline_ms));
        refuse("tenancy.misses_per_second", zero(stack.misses_per_second.into()));
        refuse("tenancy.max_resources", zero(stack.max_resources));
        refuse("tenancy.public_url", stack.refused_public_url());
        let in_debug_build = cfg!(debug_assertions);
        refuse("tenancy.dev_tenant", stack.refused_dev_tenant(in_debug_build));
        let filter = EnvFilter::builder().parse(&self.log.filter);
        refuse("log.filter", filter.err().map(|error| error.to_string()));
        let nowhere = self.catalogue.data_dir.as_os_str().is_empty();
        refuse("catalogue.data_dir", nowhere.then(|| "it is empty".to_owned()));
        let database = self.catalogue.database.as_ref();
        let nothing = database.is_some_and(|database| database.as_os_str().is_empty());
        refuse("catalogue.database", nothing.then(|| "it is empty".to_owned()));
        let url = self.catalogue.url.as_ref();
        let mistake = url.and_then(super::DatabaseUrl::mistake);
        refuse("catalogue.url", mistake.map(str::to_owned));
        let both = url.is_some() && database.is_some();
        refuse(
            "catalogue.url",
            both.then(|| "`catalogue.database` is given too: give one of them".to_owned()),
        );
        let databases = &self.databases;
        for (key, url) in [
            ("databases.url", &databases.url),
            ("databases.owner_url", &databases.owner_url),
            ("databases.replica_url", &databases.replica_url),
        ] {
            let mistake = url.as_ref().and_then(super::DatabaseUrl::mistake);
            refuse(key, mistake.map(str::to_owned));
        }
        for (key, value) in [
            ("databases.budget", databases.budget),
            ("databases.max_tenants", databases.max_tenants),
            ("databases.max_per_tenant", databases.max_per_tenant.unwrap_or(1)),
        ] {
            refuse(key, zero(value as u64));
        }
        found
    }

    /// The stack that these settings describe, over a store. Add what settings can not say, then build it.
    ///
    /// # Errors
    /// When the settings were put together by hand and are impossible; what was loaded is not.
    pub fn stack(&self, store: impl TenantStore) -> Result<TenancyBuilder, String> {
        let stack = &self.tenancy;
        let mut resolve = ResolveSettings::default();
        resolve.misses_per_second = stack.misses_per_second;
        resolve.miss_burst = stack.misses_per_second.saturating_mul(2);
        resolve.max_stale = Duration::from_millis(stack.max_stale_ms);
        resolve.snapshot_file = Some(self.catalogue.snapshot_file());
        let mut gate = GatePolicy::default();
        if stack.hide_suspended {
            gate = gate.hide_suspended();
        }
        let mut builder = tenancy::Tenancy::builder(stack.identifier()?, store)
            .order(stack.parsed_order()?)
            .observe_stages(stack.observed_stages()?)
            .central_hosts(
                stack
                    .central_hosts
                    .clone()
                    .unwrap_or_else(|| stack.base_domains.clone()),
            )
            .resolve_settings(resolve)
            .gate(gate)
            .always_https(stack.always_https)
            .max_resources(stack.max_resources)
            .acme_challenge(stack.acme_challenge)
            .body_limit(stack.body_limit_bytes)
            .deadline(Duration::from_millis(stack.deadline_ms));
        if let Some(public_url) = &stack.public_url {
            builder = builder.public_url(public_url);
        }
        builder = match &stack.dev_tenant {
            Some(id) if stack.dev_tenant_even_in_release => builder.dev_tenant_even_in_release(id),
            Some(id) => builder.dev_tenant(id),
            None => builder,
        };
        if let Some(proxies) = stack.proxies()? {
            builder = builder.trust_proxies(proxies);
        }
        Ok(builder)
    }
}

/// Why the stack would refuse this central host.
fn refused_central_host(host: &str) -> Option<String> {
    let reason = match Host::parse(host.as_bytes()) {
        Ok(parsed) if parsed.port().is_none() => return None,
        Ok(_) => "ports play no part in who a request is for; leave it out".to_owned(),
        Err(invalid) => invalid.to_string(),
    };
    Some(format!("{host:?}: {reason}"))
}

impl StackSettings {
    fn identifier(&self) -> Result<DomainOrSubdomain, String> {
        DomainOrSubdomain::of_any(&self.base_domains).map_err(|error| error.to_string())
    }

    /// The value is not repeated: what is no public URL may be one with a password.
    fn refused_public_url(&self) -> Option<String> {
        match check_public_url(self.public_url.as_deref()?).err()? {
            ConfigMistake::PublicUrl { reason, .. } => Some(reason.to_owned()),
            other => Some(other.to_string()),
        }
    }

    fn refused_dev_tenant(&self, in_debug_build: bool) -> Option<String> {
        let id = self.dev_tenant.as_deref()?;
        if !in_debug_build && !self.dev_tenant_even_in_release {
            let reason =
                "it is for debug builds; set dev_tenant_even_in_release if nobody else can reach this server";
            return Some(reason.to_owned());
        }
        TenantId::new(id).err().map(|invalid| invalid.to_string())
    }

    fn parsed_order(&self) -> Result<Order, String> {
        Order::from_names(self.order.iter().map(String::as_str)).map_err(|error| error.to_string())
    }

    fn observed_stages(&self) -> Result<Vec<Stage>, String> {
        let stages = self.observe.iter().map(|name| name.parse::<Stage>());
        stages
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())
    }

    fn proxies(&self) -> Result<Option<TrustedProxies>, String> {
        if self.trust_proxies.is_empty() {
            return Ok(None);
        }
        let proxies = TrustedProxies::new(self.trust_proxies.iter().map(String::as_str));
        proxies.map(Some).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_build_has_a_dev_tenant_only_if_it_is_allowed_there() {
        let mut stack = StackSettings::default();
        assert_eq!(stack.refused_dev_tenant(false), None);
        stack.dev_tenant = Some("acme".to_owned());
        assert_eq!(stack.refused_dev_tenant(true), None);
        assert!(
            stack
                .refused_dev_tenant(false)
                .unwrap()
                .contains("dev_tenant_even_in_release")
        );
        stack.dev_tenant_even_in_release = true;
        assert_eq!(stack.refused_dev_tenant(false), None);
        stack.dev_tenant = Some("ACME".to_owned());
        assert!(stack.refused_dev_tenant(true).is_some() && stack.refused_dev_tenant(false).is_some());
    }
}
