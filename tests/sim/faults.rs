//! What can go wrong in the world, each with a probability of its own that is drawn from the seed: many seeds have most of it off.

use crate::rng::Rng;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Probabilities in permille.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct Faults {
            $($(#[$doc])* pub(crate) $name: u32,)*
        }

        impl Faults {
            fn all(&mut self) -> Vec<&mut u32> {
                vec![$(&mut self.$name),*]
            }

            /// Which faults are on, for the trace.
            pub(crate) fn words(&self) -> String {
                let mut words = Vec::new();
                $(if self.$name > 0 { words.push(format!("{} {}", stringify!($name), self.$name)); })*
                words.join(", ")
            }
        }
    };
}

faults! {
    /// `run` is killed around an event.
    kill_run,
    /// Of these, the journal's newest batch is lost.
    torn_tail,
    /// The inbox hands something out again after a kill.
    inbox_repeats,
    /// An agent goes silent.
    hang,
    /// An agent says that it finished, without the commit that completes its work.
    fake_finish,
    /// Tools are denied to an agent.
    denied,
    /// An agent's turns run out.
    exhausted,
    /// An agent ends in an error.
    failed,
    /// The vendor refuses service.
    refused,
    /// An agent's supervisor is killed; what it started may live on and commit.
    vanish,
    /// An agent does not end when asked politely.
    ignores_term,
    /// An agent goes on committing after it said that it is complete.
    chatty,
    /// An agent does not end after it is complete.
    lingers,
    /// An agent rewrites its branch.
    rewrites,
    /// An agent's commit carries somebody else's tag.
    foreign_tag,
    /// An agent's commit carries a broken tag.
    malformed_tag,
    /// An agent asks the human.
    asks,
    /// A process message comes twice, the second time perhaps much later.
    repeated_message,
    /// A process message comes late.
    late_message,
    /// A process message is lost.
    lost_message,
    /// Commits are reported late, so that reports overtake each other.
    late_commits,
    /// Commits are reported twice.
    repeated_commits,
    /// A complete agent's deliverables are missing.
    missing,
    /// A complete agent changed paths outside of what it owns.
    outside,
    /// An agent's work conflicts with somebody's.
    clash,
    /// An agent's work breaks a gate.
    breaks_gate,
    /// A gate fails once on a good tree.
    flaky_gate,
    /// A gate fails twice on a good tree.
    wrong_gate,
    /// A gate does not answer.
    silent_gate,
    /// A human commits to main.
    human_on_main,
    /// A human commits to a team's branch.
    human_on_team,
    /// The user's checkout has uncommitted changes for a while.
    dirty_checkout,
    /// An effect fails, and may be tried again.
    effect_fails,
    /// An effect fails for good.
    effect_fails_for_good,
    /// The clock jumps back.
    clock_back,
    /// A human asks the run to stop.
    stop,
    /// A human answers what was answered, or what nobody asked.
    odd_answer,
    /// A human changes the plan's limits between two runs.
    plan_changes,
    /// A human settles a conflict by words only.
    words_only,
    /// A merge in memory drops something of one side.
    wrong_merge,
    /// A human pauses the run.
    pause,
    /// A human turns a landing down.
    rejects,
    /// A human has an agent start anew.
    fresh_start,
    /// The machine sleeps for a while.
    sleeps,
    /// A human puts a branch back.
    rolls_back,
    /// A leader settles a conflict so that one side is missing, or something else is touched.
    bad_settlement,
}

impl Faults {
    /// A seed's faults: one seed in eight has none, the others have about a third of them.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let mut faults = Self::default();
        if rng.below(8) == 0 {
            return faults;
        }
        let share_on = *rng.pick(&[100, 300, 300, 600]);
        for probability in faults.all() {
            if rng.chance(share_on) {
                *probability = *rng.pick(&[10, 40, 40, 120, 300]);
            }
        }
        // A conflict takes two who draw different sides of one place: rare, unless they are keen on it.
        if rng.below(4) == 0 {
            faults.clash = 600;
            faults.bad_settlement = *rng.pick(&[0, 120, 300]);
        }
        // Once per event is far more often than once per attempt.
        faults.kill_run = faults.kill_run.min(60);
        faults.clock_back = faults.clock_back.min(20);
        faults.stop = faults.stop.min(10);
        faults.human_on_main = faults.human_on_main.min(20);
        faults.human_on_team = faults.human_on_team.min(20);
        faults.pause = faults.pause.min(10);
        faults.rejects = faults.rejects.min(10);
        faults.fresh_start = faults.fresh_start.min(10);
        faults.sleeps = faults.sleeps.min(10);
        faults.rolls_back = faults.rolls_back.min(10);
        faults.dirty_checkout = faults.dirty_checkout.min(20);
        faults
    }
}
