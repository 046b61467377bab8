use sqlx::ConnectOptions as _;
use tenancy_core::{TenantId, TenantRecord};

use super::TransferError;
use crate::{
    database::TenantHomes,
    engine::{Engine, Options, TenantEngine},
    isolation::Identifier,
    pool::target::Session,
};

/// A tenant's home: who may connect, and what makes a connection the tenant's.
pub struct Place<DB: Engine> {
    pub(super) app: Options<DB>,
    pub(super) owner: Options<DB>,
    pub(super) session: Session,
    pub(super) is_pooled: bool,
    pub(super) tenant: TenantId,
    pub(super) strategy: &'static str,
    pub(super) search_path: Vec<Identifier>,
}

impl<DB: TenantEngine> Place<DB> {
    pub(super) fn of(homes: &TenantHomes<DB>, record: &TenantRecord) -> Result<Self, TransferError> {
        let (strategy, target) = homes.place(record).map_err(TransferError::placement)?;
        let site = homes.site_of(record).map_err(TransferError::placement)?;
        let owner = site.owner().map_err(TransferError::placement)?;
        let at = |options| DB::only_existing(DB::at(options, target.database_name()));
        let search_path = match target.session() {
            Session::SearchPath { schema, extra } => {
                std::iter::once(schema).chain(&**extra).cloned().collect()
            }
            Session::Own | Session::Setting { .. } => Vec::new(),
            Session::Guarded(_) => {
                return Err(TransferError::unsupported(
                    "tables that tenants share without policies are neither exported nor imported for one tenant: \
                     nothing but each statement tells its rows from those of others",
                ));
            }
        };
        Ok(Self {
            app: at(&site.options),
            owner: at(owner),
            session: target.session().clone(),
            is_pooled: site.is_pooled,
            tenant: record.id.clone(),
            strategy: strategy.name(),
            search_path,
        })
    }

    /// A connection of the owner in the tenant's home.
    pub(super) async fn connect_owner(&self) -> Result<DB::Connection, TransferError> {
        let connect = |error| TransferError::server("let the owner in", error);
        let mut connection = self.owner.connect().await.map_err(connect)?;
        let pointed = DB::point(&mut connection, &self.search_path).await;
        if !pointed.map_err(connect)? {
            return Err(TransferError::mismatch("the home's schema is not there"));
        }
        Ok(connection)
    }
}

impl<DB: Engine> Place<DB> {
    /// A connection of the application's role, which is nobody's yet.
    pub(super) async fn connect_app(&self) -> Result<DB::Connection, TransferError> {
        let connected = self.app.connect().await;
        connected.map_err(|error| TransferError::server("let the application's role in", error))
    }

    /// Whether others have rows in the same tables.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.session, Session::Setting { .. })
    }
}

impl<DB: Engine> std::fmt::Debug for Place<DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Options hold passwords.
        f.debug_struct("Place")
            .field("strategy", &self.strategy)
            .finish_non_exhaustive()
    }
}
