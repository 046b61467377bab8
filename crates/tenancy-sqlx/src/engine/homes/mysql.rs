use sqlx::{ConnectOptions, Connection, MySql, MySqlConnection};

use super::{
    super::{Engine, Migrates, mysql::number_of},
    MakesHomes, Plot, has_no_policies, identifier,
};
use crate::isolation::EngineKind;

const READ_AND_WRITE: &str = "SELECT, INSERT, UPDATE, DELETE, EXECUTE, CREATE TEMPORARY TABLES";

impl MakesHomes for MySql {
    const HAS_TEMPLATES: bool = false;

    async fn home_is_there(plot: &Plot<'_, Self>) -> Result<bool, sqlx::Error> {
        let mut connection = plot.owner.connect().await?;
        let found = sqlx::query("SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?")
            .bind(plot.target.database_name())
            .fetch_optional(&mut connection)
            .await;
        connection.close().await?;
        Ok(found?.is_some())
    }

    async fn make_home(plot: &Plot<'_, Self>) -> Result<bool, sqlx::Error> {
        let name = identifier(plot.target.database_name())?.quoted(EngineKind::MySql);
        let mut connection = plot.owner.connect().await?;
        let text = format!("CREATE DATABASE {name} CHARACTER SET utf8mb4");
        let made = Self::run(&mut connection, text).await;
        connection.close().await?;
        match made {
            Err(error) if number_of(&error) == Some(1007) => Ok(false),
            made => made.map(|()| true),
        }
    }

    async fn let_in(plot: &Plot<'_, Self>) -> Result<(), sqlx::Error> {
        // Rights are to databases: to one that is shared, it has them.
        if is_owners(plot) || plot.is_shared {
            return Ok(());
        }
        let account = account(plot).await?;
        let pattern = identifier(plot.target.database_name())?.quoted_pattern();
        let mut connection = plot.owner.connect().await?;
        let text = format!("GRANT {READ_AND_WRITE} ON {pattern}.* TO {account}");
        let granted = Self::run(&mut connection, text).await;
        connection.close().await?;
        granted
    }

    async fn drop_home(plot: &Plot<'_, Self>) -> Result<(), sqlx::Error> {
        let name = identifier(plot.target.database_name())?;
        let mut connection = plot.owner.connect().await?;
        let text = format!(
            "SET lock_wait_timeout = 10; DROP DATABASE IF EXISTS {}",
            name.quoted(EngineKind::MySql)
        );
        let dropped = Self::run(&mut connection, text).await;
        if dropped.is_ok() && !is_owners(plot) {
            revoke(&mut connection, plot, &name.quoted_pattern()).await;
        }
        connection.close().await?;
        dropped
    }

    async fn empty_home(_: &Plot<'_, Self>) -> Result<(), sqlx::Error> {
        Err(has_no_policies())
    }
}

fn is_owners(plot: &Plot<'_, MySql>) -> bool {
    plot.app.get_username() == plot.owner.get_username()
}

/// Rights outlive the database that they are for. That they are gone already is no error, and neither is a right to a
/// database that is not there.
async fn revoke(connection: &mut MySqlConnection, plot: &Plot<'_, MySql>, pattern: &str) {
    let revoked = async {
        let account = account(plot).await?;
        let text = format!("REVOKE ALL PRIVILEGES ON {pattern}.* FROM {account}");
        MySql::run(connection, text).await
    };
    if let Err(error) = revoked.await {
        tracing::debug!(%error, "the rights to a database that was dropped were not taken back");
    }
}

/// Which of the accounts of that name the application is: one name may have several, by the host it comes from.
async fn account(plot: &Plot<'_, MySql>) -> Result<String, sqlx::Error> {
    let mut connection = plot.app.connect().await?;
    let found = MySql::ask_made(&mut connection, "SELECT CURRENT_USER()".into()).await;
    connection.close().await?;
    let found = found?.pop().unwrap_or_default();
    let (user, host) = found.rsplit_once('@').unwrap_or((&found, "%"));
    let [user, host] = [identifier(user)?, identifier(host)?].map(|name| name.quoted(EngineKind::MySql));
    Ok(format!("{user}@{host}"))
}
