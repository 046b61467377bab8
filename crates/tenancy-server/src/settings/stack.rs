//! From settings to a stack.

use std::time::Duration;

use super::model::{Settings, StackSettings, TenantCacheSettings};
use tenancy::{
    cache::CacheSettings,
    core::{TenantId, TenantStore},
    gate::GatePolicy,
    resolve::{DomainOrSubdomain, ResolveSettings, TrustedProxies},
    stack::{ConfigMistake, Order, Stage, TenancyBuilder, check_public_url},
};

impl Settings {
    /// The stack that these settings describe, over a store. Add what settings can not say, then build it.
    ///
    /// Its cache is this process's own: [`TenantCacheSettings::settings`] says how processes share one.
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
            .cache(self.cache.settings())
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

impl TenantCacheSettings {
    /// How the cache works, in this process alone: the level of [`redis_url`](Self::redis_url) is the program's to add, for instance
    /// `builder.cache(settings.cache.settings().shared(RedisLevel::connect(url)?))` with `tenancy-redis`.
    pub fn settings(&self) -> CacheSettings {
        CacheSettings::new()
            .max_bytes(self.max_bytes)
            .staleness_bound(Duration::from_millis(self.staleness_bound_ms))
    }
}

impl StackSettings {
    fn identifier(&self) -> Result<DomainOrSubdomain, String> {
        DomainOrSubdomain::of_any(&self.base_domains).map_err(|error| error.to_string())
    }

    /// The value is not repeated: what is no public URL may be one with a password.
    pub(super) fn refused_public_url(&self) -> Option<String> {
        match check_public_url(self.public_url.as_deref()?).err()? {
            ConfigMistake::PublicUrl { reason, .. } => Some(reason.to_owned()),
            other => Some(other.to_string()),
        }
    }

    pub(super) fn refused_dev_tenant(&self, in_debug_build: bool) -> Option<String> {
        let id = self.dev_tenant.as_deref()?;
        if !in_debug_build && !self.dev_tenant_even_in_release {
            let reason =
                "it is for debug builds; set dev_tenant_even_in_release if nobody else can reach this server";
            return Some(reason.to_owned());
        }
        TenantId::new(id).err().map(|invalid| invalid.to_string())
    }

    pub(super) fn parsed_order(&self) -> Result<Order, String> {
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
