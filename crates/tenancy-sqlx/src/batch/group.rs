use super::operation::Operation;
use crate::{
    database::{DatabaseError, TenantDb},
    engine::TenantEngine,
};

/// Runs a group in one transaction, and tells its callers when it has ended.
pub(super) async fn run<DB: TenantEngine>(db: TenantDb<DB>, mut operations: Vec<Box<dyn Operation<DB>>>) {
    operations.retain(|operation| operation.is_wanted());
    if operations.is_empty() {
        return;
    }
    let group = run_all(&db, &mut operations).await;
    for operation in operations {
        operation.finish(group.clone());
    }
}

async fn run_all<DB: TenantEngine>(
    db: &TenantDb<DB>,
    operations: &mut [Box<dyn Operation<DB>>],
) -> Result<(), DatabaseError> {
    let mut transaction = db.begin().await?;
    if let [alone] = operations {
        if !alone.run(&mut transaction).await {
            return transaction.rollback().await;
        }
        return transaction.commit().await;
    }
    for operation in operations {
        if !operation.is_wanted() {
            continue;
        }
        let mut nested = transaction.nested().await?;
        if operation.run(&mut nested).await {
            nested.commit().await?;
        } else {
            nested.rollback().await?;
        }
    }
    transaction.commit().await
}
