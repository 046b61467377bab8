use sqlx::{ConnectOptions, Connection, Row, mysql::MySqlConnectOptions};

use super::{FindingKind, Seen};

/// Whom the login is, and whether it may do everything.
pub(crate) async fn audit(options: &MySqlConnectOptions) -> Result<Seen, sqlx::Error> {
    let mut connection = options.connect().await?;
    let rows = sqlx::raw_sql("SHOW GRANTS").fetch_all(&mut connection).await?;
    let mut seen = Seen::default();
    for row in &rows {
        let grant: String = row.try_get(0)?;
        if gives_everything(&grant) {
            seen.note(FindingKind::Superuser, options.get_username());
            break;
        }
    }
    connection.close().await?;
    Ok(seen)
}

fn gives_everything(grant: &str) -> bool {
    let Some((privileges, _)) = grant.split_once(" ON *.* ") else {
        return false;
    };
    let privileges = privileges.trim_start_matches("GRANT ");
    privileges
        .split(',')
        .map(str::trim)
        .any(|privilege| matches!(privilege, "ALL PRIVILEGES" | "SUPER" | "SELECT"))
}

#[cfg(test)]
mod tests {
    use super::gives_everything;

    #[test]
    fn a_grant_on_every_database_is_one_on_every_tenant() {
        for (grant, everything) in [
            (
                "GRANT ALL PRIVILEGES ON *.* TO `root`@`%` WITH GRANT OPTION",
                true,
            ),
            ("GRANT SELECT, INSERT ON *.* TO `app`@`%`", true),
            (
                "GRANT USAGE ON *.* TO `app`@`%` IDENTIFIED BY PASSWORD '*'",
                false,
            ),
            ("GRANT ALL PRIVILEGES ON `tenant\\_%`.* TO `app`@`%`", false),
        ] {
            assert_eq!(gives_everything(grant), everything, "{grant}");
        }
    }
}
