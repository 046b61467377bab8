use clap::{Args, ValueEnum};
use serde::Serialize;
use tenancy::core::TenantStatus;
use tenancy_sqlx::{
    adopt::{self, AdoptedData, Adoption, DomainsTable, Removal, SqlDialect},
    store::SqlStore,
};

use crate::{
    CliContext, CliError,
    output::{Output, counted},
    place::CataloguePlace,
};

/// Arguments of `catalogue adopt`.
#[derive(Clone, Debug, Args)]
pub(super) struct AdoptArgs {
    /// Tables that another library made, as it made them; other options change single columns of it
    #[arg(long, value_enum, conflicts_with_all = ["table", "id"])]
    layout: Option<Layout>,

    /// Your table with one row for each tenant
    #[arg(long, value_name = "TABLE", required_unless_present_any = ["layout", "remove"])]
    table: Option<String>,

    /// Its column with the tenant's id: text, number or UUID
    #[arg(long, value_name = "COLUMN", default_value = "id")]
    id: String,

    #[command(flatten)]
    columns: ColumnArgs,

    #[command(flatten)]
    domains: DomainArgs,

    /// The SQL to write [default: that of --catalogue, or sqlite]
    #[arg(long, value_enum)]
    dialect: Option<Dialect>,

    /// Run the SQL where --database or --catalogue point; in one transaction, except on MySQL and MariaDB
    #[arg(long)]
    apply: bool,

    /// The SQL that takes an adoption out again
    #[arg(long, conflicts_with_all = ["layout", "table"])]
    remove: bool,

    /// With --remove: leave change numbers and incarnations, for a table that is rebuilt and then adopted again
    #[arg(long)]
    keep_numbers: bool,
}

#[derive(Clone, Debug, Args)]
struct ColumnArgs {
    /// Column with the short name, for subdomains and paths [default: the id]
    #[arg(long, value_name = "COLUMN")]
    slug: Option<String>,

    /// Column with the status [default: every tenant is active]
    #[arg(long, value_name = "COLUMN")]
    status: Option<String>,

    /// What your words for it mean: `live=active,late=suspended`; an empty word is NULL
    #[arg(long, value_name = "WORD=STATUS", value_delimiter = ',', requires = "status", value_parser = parse_status)]
    status_map: Vec<(String, TenantStatus)>,

    /// Column with the name of the plan
    #[arg(long, value_name = "COLUMN")]
    plan: Option<String>,

    /// Column with the kind of customer
    #[arg(long = "type", value_name = "COLUMN")]
    tenant_type: Option<String>,

    /// Column with settings, as JSON
    #[arg(long, value_name = "COLUMN")]
    tenant_settings: Option<String>,

    /// Column with maintenance, as JSON; NULL while there is none
    #[arg(long, value_name = "COLUMN")]
    maintenance: Option<String>,

    /// Column with the name of the server that has the tenant's data
    #[arg(long, value_name = "COLUMN")]
    placement_server: Option<String>,

    /// Column with the name of the database, schema or file that has the tenant's data
    #[arg(long, value_name = "COLUMN")]
    placement_database: Option<String>,

    /// Column with the time of creation
    #[arg(long, value_name = "COLUMN")]
    created_at: Option<String>,

    /// Columns that `tenant.data()` gives to handlers; `*` for all, which needs --database [default: none]
    #[arg(
        long,
        value_name = "COLUMNS",
        value_delimiter = ',',
        conflicts_with = "data_json"
    )]
    data: Vec<String>,

    /// One column of JSON text that `tenant.data()` gives to handlers
    #[arg(long, value_name = "COLUMN")]
    data_json: Option<String>,
}

#[derive(Clone, Debug, Args)]
struct DomainArgs {
    /// Your table with the tenants' domains; it may be the same [default: they have none]
    #[arg(long, value_name = "TABLE", requires_all = ["domains_column", "domains_tenant"])]
    domains_table: Option<String>,

    /// Its column with the domain
    #[arg(long, value_name = "COLUMN", requires = "domains_table")]
    domains_column: Option<String>,

    /// Its column with the tenant's id
    #[arg(long, value_name = "COLUMN", requires = "domains_table")]
    domains_tenant: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Layout {
    /// Laravel's stancl/tenancy: `tenants` with JSON in `data`, and `domains`
    Stancl,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Dialect {
    Sqlite,
    Postgres,
    #[value(alias = "mariadb")]
    Mysql,
}

impl Dialect {
    fn spoken(self) -> SqlDialect {
        match self {
            Self::Sqlite => SqlDialect::Sqlite,
            Self::Postgres => SqlDialect::Postgres,
            Self::Mysql => SqlDialect::MySql,
        }
    }
}

#[derive(Serialize)]
struct AdoptView {
    sql: String,
    /// The database that it was run on.
    applied_to: Option<String>,
}

impl AdoptArgs {
    pub(super) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        let database = CataloguePlace::of_application(&context.settings()?.settings.catalogue);
        // clap would not say it where `--table` is given, which excludes `--remove`.
        if self.keep_numbers && !self.remove {
            return Err(CliError::usage("--keep-numbers belongs to --remove"));
        }
        if self.apply && database.is_none() {
            return Err(CliError::usage(
                "--apply needs --database FILE or --catalogue URL, your application's own",
            ));
        }
        let dialect = self.spoken(database.as_ref())?;
        let applied_to = database.filter(|_| self.apply);
        if let Some(place) = &applied_to {
            place.check_is_there()?;
        }
        if self.remove {
            return self.take_out(dialect, applied_to, out).await;
        }
        let adoption = self.adoption(context).await?;
        let sql = adoption.sql(dialect).map_err(CliError::from_catalogue)?;
        let sentence = match &applied_to {
            Some(place) => {
                match place {
                    CataloguePlace::File(file) => adoption.apply(file).await,
                    CataloguePlace::Url(url) => adoption.apply_at(url.as_str()).await,
                }
                .map_err(CliError::from_catalogue)?;
                let store = SqlStore::open(place.options()?.adopted())
                    .await
                    .map_err(CliError::from_catalogue)?;
                let count = store.count().await.map_err(CliError::from_catalogue)?;
                store.close().await;
                let count = counted(usize::try_from(count).unwrap_or(usize::MAX), "tenant", "tenants");
                format!("Adopted {count}. `catalogue check` tells whether rows break the rules.")
            }
            None => String::new(),
        };
        answer(sql, applied_to.as_ref(), &sentence, out)
    }

    /// What is asked for, or what the database speaks; never one where the other runs.
    fn spoken(&self, database: Option<&CataloguePlace>) -> Result<SqlDialect, CliError> {
        let there = match database {
            Some(CataloguePlace::Url(url)) => SqlDialect::of_url(url.as_str()),
            Some(CataloguePlace::File(_)) => Some(SqlDialect::Sqlite),
            None => None,
        };
        let asked = self.dialect.map(Dialect::spoken);
        if self.apply && asked.is_some() && there != asked {
            return Err(CliError::usage(
                "--dialect is not what the database speaks: leave it out with --apply",
            ));
        }
        Ok(asked.or(there).unwrap_or(SqlDialect::Sqlite))
    }

    async fn take_out(
        &self,
        dialect: SqlDialect,
        applied_to: Option<CataloguePlace>,
        out: &mut Output<'_>,
    ) -> Result<(), CliError> {
        let what = if self.keep_numbers {
            Removal::KeepNumbers
        } else {
            Removal::Everything
        };
        match &applied_to {
            Some(CataloguePlace::File(file)) => Adoption::take_out(file, what).await,
            Some(CataloguePlace::Url(url)) => Adoption::take_out_at(url.as_str(), what).await,
            None => Ok(()),
        }
        .map_err(CliError::from_catalogue)?;
        let sentence = "Taken out. Your tables are as they were.";
        answer(
            Adoption::removal_sql(dialect, what),
            applied_to.as_ref(),
            sentence,
            out,
        )
    }

    async fn adoption(&self, context: &CliContext) -> Result<Adoption, CliError> {
        let mut adoption = match (self.layout, &self.table) {
            (Some(Layout::Stancl), _) => Adoption::stancl(),
            (None, Some(table)) => Adoption::new(table, &self.id),
            (None, None) => return Err(CliError::usage("give --table or --layout")),
        };
        self.columns.set(&mut adoption);
        if let [all] = &*self.columns.data
            && all == "*"
        {
            adoption.data = AdoptedData::Columns(all_columns(context, &adoption.table).await?);
        }
        if let DomainArgs {
            domains_table: Some(table),
            domains_column: Some(domain),
            domains_tenant: Some(tenant),
        } = &self.domains
        {
            adoption.domains = Some(DomainsTable::new(table, domain, tenant));
        }
        Ok(adoption)
    }
}

impl ColumnArgs {
    /// What is not given stays as the layout has it.
    fn set(&self, adoption: &mut Adoption) {
        for (place, given) in [
            (&mut adoption.slug, &self.slug),
            (&mut adoption.status, &self.status),
            (&mut adoption.plan, &self.plan),
            (&mut adoption.tenant_type, &self.tenant_type),
            (&mut adoption.settings, &self.tenant_settings),
            (&mut adoption.maintenance, &self.maintenance),
            (&mut adoption.placement_server, &self.placement_server),
            (&mut adoption.placement_database, &self.placement_database),
            (&mut adoption.created_at, &self.created_at),
        ] {
            if given.is_some() {
                place.clone_from(given);
            }
        }
        adoption.status_map.clone_from(&self.status_map);
        if let Some(column) = &self.data_json {
            adoption.data = AdoptedData::Json(column.clone());
        } else if !self.data.is_empty() {
            adoption.data = AdoptedData::Columns(self.data.clone());
        }
    }
}

async fn all_columns(context: &CliContext, table: &str) -> Result<Vec<String>, CliError> {
    let place = CataloguePlace::of_application(&context.settings()?.settings.catalogue).ok_or_else(|| {
        CliError::usage("--data '*' needs --database FILE or --catalogue URL, to look which there are")
    })?;
    place.check_is_there()?;
    match &place {
        CataloguePlace::File(file) => adopt::columns(file, table).await,
        CataloguePlace::Url(url) => adopt::columns_at(url.as_str(), table).await,
    }
    .map_err(CliError::from_catalogue)
}

fn parse_status(given: &str) -> Result<(String, TenantStatus), String> {
    let (word, status) = given
        .rsplit_once('=')
        .ok_or("write WORD=STATUS, such as live=active")?;
    let status = TenantStatus::parse(status).map_err(|error| error.to_string())?;
    Ok((word.to_owned(), status))
}

fn answer(
    sql: String,
    applied_to: Option<&CataloguePlace>,
    sentence: &str,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    if out.is_json() {
        let applied_to = applied_to.map(ToString::to_string);
        return out.json(&AdoptView { sql, applied_to });
    }
    match applied_to {
        Some(_) => out.line(sentence),
        None => out.text(sql),
    }
}
