//! Instructions and allocations of one request.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::{
    Failure, callgrind,
    report::{Report, Row, number},
    scenario::{Allocations, MANY_TENANTS},
};

/// What one request costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Cost {
    instructions: f64,
    allocations: f64,
}

impl Cost {
    fn over(self, base: Self) -> Self {
        Self {
            instructions: self.instructions - base.instructions,
            allocations: self.allocations - base.allocations,
        }
    }
}

/// The default order, outside in, as settings write it.
const DEFAULT_ORDER: &str = "panic_catch,maintenance,resolve,gate,body_limit,deadline,cache_scope";
const OPTIONAL_STAGES: [&str; 6] = [
    "panic_catch",
    "maintenance",
    "gate",
    "body_limit",
    "deadline",
    "cache_scope",
];
const TENANTS: [usize; 5] = [10, 100, 101, 10_000, 1_000_000];
const REQUESTS: usize = 2_000;

fn scenarios() -> Vec<String> {
    // The long ones first, so that they run beside the many short ones.
    let mut names: Vec<String> = TENANTS
        .iter()
        .rev()
        .map(|count| format!("tenants:{count}"))
        .collect();
    names.extend(
        [
            "nothing",
            "bare",
            "resolve-only",
            "trivial",
            "trivial-gate",
            "layer:resolve,gate",
            "order:resolve,gate",
            "default",
            "routes",
            "central",
            "layer-between",
            "router-layer",
            "track-routes",
            "observe",
            "layer-observe:resolve,gate",
            "listener",
            "health-routes:/readyz",
            "health-routes:/health",
            "health-front:/readyz",
            "health-front",
            "unknown-host",
            "bad-host",
            "tower-http:catch-panic",
            "tower-http:timeout",
            "tower-http:body-limit",
        ]
        .map(str::to_owned),
    );
    names.push(format!("order:{DEFAULT_ORDER}"));
    names.push(format!("order-from-names:{DEFAULT_ORDER}"));
    names.extend(OPTIONAL_STAGES.map(|stage| format!("without:{stage}")));
    names
}

/// The costs of all scenarios, by name.
struct Costs(HashMap<String, Cost>);

impl Costs {
    fn of(&self, name: &str) -> Cost {
        // A row of a scenario that was not run fails instead of passing.
        let missing = Cost {
            instructions: f64::NAN,
            allocations: f64::NAN,
        };
        self.0.get(name).copied().unwrap_or(missing)
    }

    fn over(&self, name: &str, base: &str) -> Cost {
        self.of(name).over(self.of(base))
    }
}

/// Measures every scenario, two at a time: instructions do not depend on what else runs.
pub(crate) fn measure(report: &mut Report, folder: &Path) -> Result<(), Failure> {
    callgrind::require_valgrind()?;
    let names = scenarios();
    let next = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let costs = Mutex::new(HashMap::new());
    let work = || -> Result<(), Failure> {
        while let Some(name) = names.get(next.fetch_add(1, Ordering::SeqCst)) {
            let cost = cost_of(name, folder)?;
            costs
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(name.clone(), cost);
            let done = 1 + done.fetch_add(1, Ordering::SeqCst);
            eprintln!("requests {done:>2}/{}  {name}", names.len());
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| Failure::from("a worker panicked"))?)
    })?;
    add_rows(
        report,
        &Costs(costs.into_inner().unwrap_or_else(PoisonError::into_inner)),
    );
    Ok(())
}

fn cost_of(name: &str, folder: &Path) -> Result<Cost, Failure> {
    let (profile, said) = callgrind::run(&scenario_arguments(name), starts_late(name), folder)?;
    let allocations: Allocations = serde_json::from_str(&said)?;
    Ok(Cost {
        instructions: profile.total as f64 / REQUESTS as f64,
        allocations: allocations.count as f64 / REQUESTS as f64,
    })
}

fn scenario_arguments(name: &str) -> [String; 3] {
    ["measure".to_owned(), name.to_owned(), REQUESTS.to_string()]
}

fn starts_late(name: &str) -> bool {
    name.strip_prefix("tenants:")
        .and_then(|count| count.parse().ok())
        .is_some_and(|count: usize| count >= MANY_TENANTS)
}

fn instructions(name: impl Into<String>, cost: Cost) -> Row {
    Row::shown(name, "instructions", cost.instructions.round()).note(format!(
        "{} allocations",
        number((100.0 * cost.allocations).round() / 100.0)
    ))
}

/// Instructions and allocations as two rows, each with its budget.
fn budgeted(name: &str, cost: Cost, (most_instructions, most_allocations): (f64, f64)) -> [Row; 2] {
    [
        Row::shown(name, "instructions", cost.instructions.round()).at_most(most_instructions),
        Row::shown(format!("{name}: allocations"), "allocations", cost.allocations).at_most(most_allocations),
    ]
}

fn add_rows(report: &mut Report, costs: &Costs) {
    add_budgets(report, costs);
    add_composition(report, costs);
    add_scale(report, costs);
    add_stages(report, costs);
    add_health(report, costs);
}

fn add_budgets(report: &mut Report, costs: &Costs) {
    let section = "one request";
    report.add(
        section,
        [instructions("bare axum router", costs.of("bare")).note("twelve browser headers beside Host")],
    );
    report.add(
        section,
        budgeted(
            "resolve on a hit",
            costs.over("resolve-only", "nothing"),
            (900.0, 0.0),
        ),
    );
    report.add(
        section,
        budgeted(
            "resolve, gate and scope with the hand-over, over bare axum",
            costs.over("layer:resolve,gate", "bare"),
            (1_800.0, 2.0),
        )
        .map(|row| row.note("around one router, by `layer`")),
    );
    report.add(
        section,
        budgeted(
            "whole default stack, over bare axum",
            costs.over("default", "bare"),
            (2_900.0, 5.0),
        ),
    );
    report.add(
        section,
        budgeted(
            "whole default stack by routes(), over bare axum",
            costs.over("routes", "bare"),
            (2_900.0, 5.0),
        ),
    );
    report.add(
        section,
        budgeted(
            "resolve, gate and scope observing, over bare axum",
            costs.over("layer-observe:resolve,gate", "bare"),
            (1_800.0, 2.0),
        )
        .map(|row| row.note("around one router, by `layer`")),
    );
    report.add(
        section,
        budgeted(
            "whole default stack observing, over bare axum",
            costs.over("observe", "bare"),
            (2_900.0, 5.0),
        ),
    );
    report.add(
        section,
        [
            instructions(
                "resolve, gate and scope by wrap, which chooses between two routers, over bare axum",
                costs.over("order:resolve,gate", "bare"),
            ),
            instructions(
                "central request by routes(), over bare axum",
                costs.over("central", "bare"),
            ),
            instructions(
                "resolve, gate and scope around a service that does nothing, over it",
                costs.over("trivial-gate", "trivial"),
            ),
            instructions("refused: unknown host, 404", costs.of("unknown-host")).note("the whole request"),
            instructions("refused: bad host, 400", costs.of("bad-host")).note("the whole request"),
        ],
    );
}

fn add_health(report: &mut Report, costs: &Costs) {
    let section = "health";
    for path in ["/readyz", "/health"] {
        let cost = costs.over(&format!("health-routes:{path}"), "bare");
        let name = format!("a probe of {path}, over a route that says hello");
        report.add(
            section,
            [Row::shown(name, "instructions", cost.instructions.round()).at_most(2_000.0)],
        );
    }
    report.add(
        section,
        [
            instructions(
                "a probe of /readyz in front of the stack",
                costs.of("health-front:/readyz"),
            )
            .note("the whole request"),
            instructions(
                "any other request with health in front, over the default stack",
                costs.over("health-front", "default"),
            ),
        ],
    );
}

fn add_composition(report: &mut Report, costs: &Costs) {
    let in_code = costs.of(&format!("order:{DEFAULT_ORDER}"));
    let from_names = costs.of(&format!("order-from-names:{DEFAULT_ORDER}"));
    let stack = costs.of("default");
    report.add(
        "composition",
        [
            Row::shown(
                "order from settings against the same order in code",
                "ratio",
                from_names.instructions / in_code.instructions,
            )
            .at_most(1.1),
            Row::shown(
                "order from settings: extra allocations",
                "allocations",
                from_names.over(in_code).allocations,
            )
            .at_most(0.0),
            instructions(
                "a layer of the application's own after resolve, over the default stack",
                costs.of("layer-between").over(stack),
            ),
            instructions(
                "Router::layer(tenancy) instead of wrap, over wrap",
                costs.of("router-layer").over(stack),
            ),
            instructions(
                "track_routes, over the default stack",
                costs.of("track-routes").over(stack),
            ),
            instructions(
                "a listener, over the default stack",
                costs.of("listener").over(stack),
            ),
        ],
    );
}

fn add_scale(report: &mut Report, costs: &Costs) {
    let of = |count| costs.of(&format!("tenants:{count}"));
    let [first, ..] = TENANTS;
    report.add(
        "scale: requests spread over all tenants",
        [instructions(format!("default stack at {first} tenants"), of(first)).note("the whole request")],
    );
    let rows = TENANTS.into_iter().skip(1).map(|count| {
        Row::shown(
            format!("{} tenants against {first}", number(count as f64)),
            "ratio",
            of(count).instructions / of(first).instructions,
        )
        .at_most(1.3)
    });
    report.add("scale: requests spread over all tenants", rows);
}

fn add_stages(report: &mut Report, costs: &Costs) {
    let section = "single stages";
    for stage in OPTIONAL_STAGES {
        let cost = costs.over("default", &format!("without:{stage}"));
        report.add(
            section,
            [instructions(format!("{stage}, over the stack without it"), cost)],
        );
    }
    for (layer, of) in [
        ("catch-panic", "CatchPanicLayer"),
        ("timeout", "TimeoutLayer"),
        ("body-limit", "RequestBodyLimitLayer"),
    ] {
        let cost = costs.over(&format!("tower-http:{layer}"), "bare");
        report.add(
            section,
            [instructions(
                format!("tower-http's {of} around the router, over bare axum"),
                cost,
            )],
        );
    }
}

/// The functions in which one scenario spends more than another, for whoever wants to know why.
pub(crate) fn explain(name: &str, base: &str, folder: &Path) -> Result<String, Failure> {
    callgrind::require_valgrind()?;
    let profile = |name| callgrind::run(&scenario_arguments(name), starts_late(name), folder);
    let (of, _) = profile(name)?;
    let (without, _) = profile(base)?;
    let before: HashMap<_, _> = without
        .functions()
        .into_iter()
        .map(|function| (function.name.clone(), function))
        .collect();
    let each = |total: u64| total as f64 / REQUESTS as f64;
    let mut rows: Vec<(f64, f64, String)> = of
        .functions()
        .into_iter()
        .map(|function| {
            let base = before.get(&function.name);
            let own = each(function.own) - base.map_or(0.0, |base| each(base.own));
            let inclusive = each(function.inclusive) - base.map_or(0.0, |base| each(base.inclusive));
            (own, inclusive, function.name)
        })
        .filter(|(own, inclusive, _)| own.abs() >= 1.0 || inclusive.abs() >= 10.0)
        .collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut text = format!(
        "{name} {:.0}, {base} {:.0}, difference {:.0} instructions a request\n{:>9} {:>9}  function\n",
        each(of.total),
        each(without.total),
        each(of.total) - each(without.total),
        "own",
        "inclusive"
    );
    for (own, inclusive, function) in rows {
        text.push_str(&format!("{own:>+9.0} {inclusive:>+9.0}  {function}\n"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use tenancy::stack::Stage;

    use super::*;

    #[test]
    fn the_default_order_is_written_as_it_is() {
        let names: Vec<&str> = Stage::ALL.iter().map(|stage| stage.as_str()).collect();
        assert_eq!(names.join(","), DEFAULT_ORDER);
    }

    #[test]
    fn a_scenario_that_was_not_run_fails_its_budgets() {
        let mut report = Report::default();
        add_rows(&mut report, &Costs(HashMap::new()));
        assert_eq!(report.failed().count(), 2 * 6 + 2 + 2 + TENANTS.len() - 1);
    }

    #[test]
    fn only_scenarios_with_many_tenants_start_to_count_late() {
        let late: Vec<String> = scenarios().into_iter().filter(|name| starts_late(name)).collect();
        assert_eq!(late, ["tenants:1000000", "tenants:10000"]);
    }
}
