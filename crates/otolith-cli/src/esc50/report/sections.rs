//! The parts of the page that are words and tables.

use super::super::measure::compare_paired;
use super::super::protocol::Protocol;
use super::super::table::{ArmKind, ArmResult, Comparison};
use super::{DataSet, Escaped, best, best_of_kind, charts};
use std::fmt::Write as _;

/// What the arms do, for readers without the project at hand.
const ABOUT: [(&str, &str); 11] = [
    (
        "concat-64",
        "64 frames, evenly spaced, written one after the other as a single vector; inner product of unit vectors",
    ),
    ("flat", "all frames written one after the other as a single vector; inner product of unit vectors"),
    ("mean", "the mean of the frames; cosine"),
    ("mean-std", "mean and standard deviation of the frames, standardised; cosine"),
    ("maxsim", "every frame of the query looks for its best match among the record's frames; the cosines are added"),
    (
        "maxsim-white",
        "as maxsim, over every second frame, stacked with its neighbours (where the model has no context) and whitened",
    ),
    (
        "codes",
        "one short vector a clip: frames coded by k-means centroids, pooled, reduced by PCA and whitened; cosine",
    ),
    ("fused", "the scores of maxsim-white and codes together, standardised for each query"),
    ("adapted", "as codes, but with axes that separate the classes of the training clips (LDA); nearest neighbour"),
    ("knn", "as adapted, but the nearest neighbours vote"),
    ("linear-probe", "logistic regression on pooled frames"),
];

fn about_protocol(protocol: &str) -> &'static str {
    match protocol {
        "folds" => {
            "The clips of each fold are searched for among those of the other folds. Where the data set says \
             which clips were cut from one recording, those are in one fold, so that no hit is a copy of the query."
        }
        "34-5-1" => {
            "Of each class, in the order of the data set, the first 34 clips are searched in, the next 5 are left for \
             choosing and the last one is searched for; a data set that comes with splits keeps its own. Clips of one \
             recording can fall on both sides, and with few queries the intervals are wide."
        }
        "open-set" => {
            "A fifth of the classes is held out in turn: everything is fitted on the other classes, and the clips of \
             the \
             held-out ones are searched for among each other, fold against fold."
        }
        _ => "",
    }
}

pub(super) fn summary(comparison: &Comparison) -> String {
    let Comparison { dataset, clips, classes, protocol, model, .. } = comparison;
    let queries = comparison.arms.first().map_or(0, |arm| arm.queries);
    let mut html = format!(
        "<p class=\"lead\">A clip of a known class is searched for among others. An answer is right when the first \
         clip found \
         is of the same class: top-1 is the fraction of right answers, top-3 that of queries with a clip of their class among \
         the first three.</p>\n<dl class=\"facts\">\n\
         <div><dt>Data set</dt><dd>{}</dd></div><div><dt>Clips</dt><dd>{clips}</dd></div>\
         <div><dt>Classes</dt><dd>{classes}</dd></div><div><dt>Queries</dt><dd>{queries}</dd></div>\
         <div><dt>Protocol</dt><dd>{}</dd></div><div><dt>Frames</dt><dd>{}</dd></div>\n</dl>\n<p>{}</p>\n",
        Escaped(dataset),
        Escaped(protocol),
        Escaped(&model.label()),
        about_protocol(protocol),
    );
    for (kind, words) in [(ArmKind::Search, "search"), (ArmKind::Classifier, "classifier")] {
        if let Some(ArmResult { arm, measures, .. }) = best_of_kind(comparison, kind) {
            let _ = writeln!(
                html,
                "<p>Best {words}: <strong>{}</strong>, top-1 {:.3} (95 % interval {:.3} to {:.3}).</p>",
                Escaped(arm),
                measures.top1,
                measures.top1_low,
                measures.top1_high,
            );
        }
    }
    if protocol != Protocol::OpenSet.name() {
        let chance = 1.0 / (*classes).max(1) as f64;
        let _ = writeln!(html, "<p>A class drawn at random would be right in {chance:.3} of all cases.</p>");
    }
    html
}

pub(super) fn results(comparison: &Comparison) -> String {
    let mut html = String::from("<section>\n<h2>Results</h2>\n");
    let Some(leader) = best(comparison.arms.iter()) else {
        return html + "<p>No arm ran.</p>\n" + &skipped(comparison) + "</section>\n";
    };
    let _ = write!(
        html,
        "<figure class=\"scroll\">{}<figcaption>Top-1 accuracy with its 95 % interval; the thin tick is top-3. \
         <span class=\"key search\"></span> searches records, <span class=\"key classifier\"></span> names classes.\
         </figcaption></figure>\n<div class=\"scroll\"><table>\n<thead><tr><th>Arm</th><th>Kind</th><th \
         class=\"n\">Rows x dim</th>\
         <th class=\"n\">Top-1</th><th class=\"n\">95 %</th><th class=\"n\">Top-3</th><th class=\"n\">95 %</th><th \
         class=\"n\">mAP</th>\
         <th class=\"n\">p against {}</th><th class=\"n\">Fit, s</th><th class=\"n\">Search, s</th></tr></thead>\n<tbody>\n",
        charts::accuracy(&comparison.arms),
        Escaped(&leader.arm),
    );
    for arm in &comparison.arms {
        let measures = &arm.measures;
        let _ = writeln!(
            html,
            "<tr{}><th scope=\"row\">{}</th><td>{}</td><td class=\"n\">{} x {}</td><td class=\"n\">{:.3}</td>\
             <td class=\"n\">{:.3} to {:.3}</td><td class=\"n\">{:.3}</td><td class=\"n\">{:.3} to {:.3}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{:.1}</td><td class=\"n\">{:.1}</td></tr>",
            if std::ptr::eq(arm, leader) { " class=\"best\"" } else { "" },
            Escaped(&arm.arm),
            arm.kind.name(),
            arm.rows,
            arm.dim,
            measures.top1,
            measures.top1_low,
            measures.top1_high,
            measures.top3,
            measures.top3_low,
            measures.top3_high,
            measures.map.map_or_else(|| "-".to_owned(), |map| format!("{map:.3}")),
            probability(leader, arm),
            arm.fit_seconds,
            arm.search_seconds,
        );
    }
    html + "</tbody>\n</table></div>\n" + &skipped(comparison) + "</section>\n"
}

/// How probable the difference between two arms is if neither is better.
fn probability(leader: &ArmResult, arm: &ArmResult) -> String {
    if std::ptr::eq(leader, arm) || leader.right.len() != arm.right.len() {
        return "-".to_owned();
    }
    match compare_paired(&leader.right, &arm.right).p_value {
        tiny if tiny < 0.001 => "&lt; 0.001".to_owned(),
        p => format!("{p:.3}"),
    }
}

fn skipped(comparison: &Comparison) -> String {
    let line = |(arm, why): (&str, &str)| format!("<li><strong>{}</strong>: {}</li>\n", Escaped(arm), Escaped(why));
    let lines: String = comparison.skipped.iter().map(|skipped| line((&skipped.arm, &skipped.why))).collect();
    if lines.is_empty() { lines } else { format!("<p>Arms that did not run:</p>\n<ul>\n{lines}</ul>\n") }
}

/// The confusion matrices of the best search and the best classifier.
pub(super) fn confusions(comparison: &Comparison, set: &DataSet) -> String {
    let mut html = String::new();
    for kind in [ArmKind::Search, ArmKind::Classifier] {
        let Some(arm) = best_of_kind(comparison, kind) else { continue };
        let _ = write!(
            html,
            "<h3>{}</h3>\n<div class=\"pair\"><figure class=\"scroll\">{}</figure>\n<div><p>Most often \
             confused:</p>\n<ol>\n",
            Escaped(&arm.arm),
            charts::confusion(&arm.confusion, &set.classes, arm),
        );
        for (truth, answer, count) in arm.confusion.mistakes().into_iter().take(8) {
            let (truth, answer, of) = (&set.classes[truth], &set.classes[answer], arm.confusion.queries(truth));
            let _ = writeln!(html, "<li>{} taken for {}: {count} of {of}</li>", Escaped(truth), Escaped(answer));
        }
        html.push_str("</ol></div></div>\n");
    }
    if html.is_empty() {
        return html;
    }
    format!(
        "<section>\n<h2>What was taken for what</h2>\n<p>The class of the query down, the class of the first answer \
         across; the \
         stronger a cell, the more of the class's queries are in it. A perfect arm fills the diagonal only.</p>\n{html}</section>\n"
    )
}

/// Accuracy by class and arm, the class that is hardest for the best arm first.
pub(super) fn per_class(comparison: &Comparison, set: &DataSet) -> String {
    let Some(leader) = best(comparison.arms.iter()) else { return String::new() };
    let accuracy = |class: usize| leader.confusion.accuracy(class);
    let mut order: Vec<usize> = (0..set.classes.len()).filter(|&class| accuracy(class).is_some()).collect();
    order.sort_by(|&a, &b| accuracy(a).partial_cmp(&accuracy(b)).unwrap_or(std::cmp::Ordering::Equal));
    let mut html = format!(
        "<section>\n<h2>Class by class</h2>\n<p>Top-1 accuracy; the class that is hardest for {} first.</p>\n\
         <div class=\"scroll\"><table class=\"heat\">\n<thead><tr><th>Class</th><th class=\"n\">Queries</th>",
        Escaped(&leader.arm)
    );
    for arm in &comparison.arms {
        let _ = write!(html, "<th class=\"n\">{}</th>", Escaped(&arm.arm));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for class in order {
        let queries = leader.confusion.queries(class);
        let _ =
            write!(html, "<tr><th scope=\"row\">{}</th><td class=\"n\">{queries}</td>", Escaped(&set.classes[class]));
        for arm in &comparison.arms {
            match arm.confusion.accuracy(class) {
                Some(value) => {
                    let percent = (value * 60.0).round();
                    let _ = write!(html, "<td class=\"n\" style=\"--heat:{percent}%\">{value:.2}</td>");
                }
                None => html.push_str("<td class=\"n\">-</td>"),
            }
        }
        html.push_str("</tr>\n");
    }
    html + "</tbody>\n</table></div>\n</section>\n"
}

pub(super) fn notes(comparison: &Comparison) -> String {
    let mut html = String::from("<section>\n<h2>How to read this</h2>\n<dl class=\"about\">\n");
    for (name, words) in ABOUT.iter().filter(|(name, _)| comparison.arms.iter().any(|arm| arm.arm == *name)) {
        let _ = writeln!(html, "<dt>{name}</dt><dd>{words}.</dd>");
    }
    let _ = write!(
        html,
        "</dl>\n<p>Everything that is fitted (means, whitening, centroids, weights) is fitted on training clips \
         only, never on a \
         query. Intervals are Wilson's at 95 %; mAP is the mean over the queries of the average precision of the whole ranking, \
         and classifiers, which rank classes and not clips, have none. The column p holds McNemar's exact test on the queries on \
         which two arms differ: it sees smaller differences than two overlapping intervals do, but many arms are compared, so \
         take values near 0.05 lightly.</p>\n<p>Made by otolith {}.</p>\n</section>\n",
        env!("CARGO_PKG_VERSION"),
    );
    html
}
