use sqlx::Connection as _;
use tenancy::core::TenantRecord;
use tenancy_sqlx::database::{Login, TenantHomes};

use super::tell::Done;
use crate::databases::{
    engine::{Answer, CliEngine},
    homes::{reason_of, reason_of_any},
};

/// SQL, and how it is run.
pub(super) struct Script {
    pub(super) text: String,
    pub(super) login: Login,
    pub(super) is_read_only: bool,
    pub(super) is_transaction: bool,
    pub(super) most_rows: usize,
}

impl Script {
    pub(super) async fn run<DB: CliEngine>(&self, homes: &TenantHomes<DB>, record: &TenantRecord) -> Done {
        let connected = homes.connect(record, self.login, self.is_read_only).await;
        let mut connection = match connected {
            Ok(connection) => connection,
            Err(error) => return Done::Failed(reason_of(&error)),
        };
        let answered = self.ask::<DB>(&mut connection).await;
        // Without a commit, it is rolled back.
        drop(connection.close().await);
        match answered {
            Ok(answers) => Done::Answers(answers),
            Err(error) => Done::Failed(match &error {
                sqlx::Error::Database(error) => error.message().to_owned(),
                other => reason_of_any(other),
            }),
        }
    }

    async fn ask<DB: CliEngine>(&self, connection: &mut DB::Connection) -> Result<Vec<Answer>, sqlx::Error> {
        if !self.is_transaction {
            return DB::ask(connection, self.text.clone(), self.most_rows).await;
        }
        DB::ask(connection, DB::begin_statement(self.is_read_only).to_owned(), 0).await?;
        let answers = DB::ask(connection, self.text.clone(), self.most_rows).await?;
        DB::ask(connection, "COMMIT".to_owned(), 0).await?;
        Ok(answers)
    }
}
