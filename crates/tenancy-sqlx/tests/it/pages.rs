use tenancy_core::TenantStatus;
use tenancy_sqlx::{
    NewTenant,
    store::{CreationOrder, ListFilter, SqlStore},
};

use crate::support::{Place, id, on_every_database};

on_every_database!(
    pages_neither_repeat_nor_skip_under_inserts,
    filters_combine,
    bad_limits_and_cursors_are_refused,
);

async fn walk(store: &SqlStore, mut filter: ListFilter, create_between: Option<&str>) -> Vec<String> {
    let mut seen = Vec::new();
    for round in 0.. {
        let page = store.page(&filter).await.unwrap();
        assert!(page.tenants.len() <= filter.limit);
        seen.extend(page.tenants.iter().map(|tenant| tenant.record.id.to_string()));
        if let Some(name) = create_between
            && round < 5
        {
            store
                .create(NewTenant::new(format!("{name}-{round}")))
                .await
                .unwrap();
        }
        match page.next {
            Some(next) => filter.cursor = Some(next),
            None => break,
        }
    }
    seen
}

fn filter(order: CreationOrder, limit: usize) -> ListFilter {
    let mut filter = ListFilter::default();
    filter.order = order;
    filter.limit = limit;
    filter
}

async fn pages_neither_repeat_nor_skip_under_inserts(place: Place) {
    let store = place.open().await;
    let original: Vec<String> = (0..23).map(|n| format!("t{n}")).collect();
    for slug in &original {
        store.create(NewTenant::new(slug)).await.unwrap();
    }
    for order in [CreationOrder::NewestFirst, CreationOrder::OldestFirst] {
        for limit in [1, 7, 23, 1000] {
            let between = format!("between-{order:?}-{limit}").to_lowercase();
            let mut seen = walk(&store, filter(order, limit), Some(&between)).await;
            let all = seen.len();
            if order == CreationOrder::NewestFirst {
                seen.reverse();
            }
            let kept: Vec<_> = seen.iter().filter(|id| original.contains(id)).cloned().collect();
            assert_eq!(kept, original, "{order:?} {limit}");
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), all, "{order:?} {limit}");
        }
    }
}

async fn filters_combine(place: Place) {
    let store = place.open().await;
    for n in 0..12 {
        let mut new = NewTenant::new(format!("t{n}"));
        new.tenant_type = Some(if n % 2 == 0 { "trial" } else { "paid" }.into());
        store.create(new).await.unwrap();
    }
    for n in [0, 1, 2] {
        store.suspend(&id(&format!("t{n}"))).await.unwrap();
    }
    let mut wanted = filter(CreationOrder::OldestFirst, 1);
    wanted.status = Some(TenantStatus::Suspended);
    assert_eq!(walk(&store, wanted.clone(), None).await, ["t0", "t1", "t2"]);
    wanted.tenant_type = Some("trial".into());
    assert_eq!(walk(&store, wanted.clone(), None).await, ["t0", "t2"]);
    wanted.status = None;
    assert_eq!(
        walk(&store, wanted, None).await,
        ["t0", "t2", "t4", "t6", "t8", "t10"]
    );
}

async fn bad_limits_and_cursors_are_refused(place: Place) {
    let store = place.open().await;
    for limit in [0, 1001] {
        assert!(
            store
                .page(&filter(CreationOrder::NewestFirst, limit))
                .await
                .unwrap_err()
                .is_invalid()
        );
    }
    for cursor in [
        "",
        "n",
        "o1",
        "n-1",
        "n+1",
        "nx",
        "n1 OR 1=1",
        "nfffffffffffffffff",
    ] {
        let mut filter = filter(CreationOrder::NewestFirst, 10);
        filter.cursor = Some(cursor.into());
        assert!(store.page(&filter).await.unwrap_err().is_invalid(), "{cursor:?}");
    }
}
