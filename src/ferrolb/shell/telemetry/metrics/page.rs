//! The text of a scrape.

use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::Declared;
use crate::shell::kube::Delays;

/// What is served.
#[derive(Default)]
pub(super) struct Page(pub(super) String);

impl Page {
    /// One metric with its series: values of its labels, and its own. Without series it isn't there.
    pub(super) fn put(&mut self, declared: &Declared, series: impl IntoIterator<Item = (Vec<String>, f64)>) {
        let metrics = series.into_iter().map(|(values, value)| {
            let mut metric = labelled(declared, values);
            if declared.kind == MetricType::COUNTER {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            } else {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            metric
        });
        self.put_metrics(declared, metrics.collect());
    }

    /// A histogram with its series: values of its labels, and what was counted by these bounds.
    pub(super) fn put_histograms<'a>(
        &mut self,
        declared: &Declared,
        bounds: &[f64],
        series: impl IntoIterator<Item = (Vec<String>, &'a Delays)>,
    ) {
        let metrics = series.into_iter().map(|(values, counted)| {
            let bucket = |(bound, count): (&f64, &u64)| {
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(*bound);
                bucket.set_cumulative_count(*count);
                bucket
            };
            let mut histogram = Histogram::default();
            histogram.set_sample_count(counted.count);
            histogram.set_sample_sum(counted.sum);
            histogram.set_bucket(bounds.iter().zip(&counted.at_most).map(bucket).collect());
            let mut metric = labelled(declared, values);
            metric.set_histogram(histogram);
            metric
        });
        self.put_metrics(declared, metrics.collect());
    }

    fn put_metrics(&mut self, declared: &Declared, metrics: Vec<Metric>) {
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(declared.name.to_owned());
        family.set_help(declared.help.to_owned());
        family.set_field_type(declared.kind);
        family.set_metric(metrics);
        self.encode(&[family]);
    }

    /// Metrics that keep themselves.
    pub(super) fn encode(&mut self, families: &[MetricFamily]) {
        // It refuses a metric without name or series, and there are none here.
        let _ = TextEncoder::new().encode_utf8(families, &mut self.0);
    }
}

fn labelled(declared: &Declared, values: Vec<String>) -> Metric {
    let labels = declared.labels.iter().zip(values).map(|(name, value)| {
        let mut label = LabelPair::default();
        label.set_name((*name).to_owned());
        label.set_value(value);
        label
    });
    Metric::from_label(labels.collect())
}
