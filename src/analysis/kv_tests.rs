//! Against the cache of one pass.

use crate::analysis::ArrayData;
use crate::analysis::testing::run;
use crate::engine::forward::tests::engine;
use crate::generate::Scheduler;
use crate::model::{Dtype, LogitRows, Model, Rows, Taps};
use std::rc::Rc;

#[test]
fn what_is_told_is_what_the_cache_holds() {
    let text: Vec<u32> = (0..70).map(|i| (i * i * 17 + 5) % 101).collect();
    let model = engine(Dtype::Q8);
    let mut kv = model.new_kv();
    let rows = Rows {
        kv: &mut kv,
        tokens: &text,
        logits: LogitRows::None,
    };
    model.forward(&mut [rows], Taps::default()).unwrap();
    let (keys, values) = kv.gather(2, 70);

    let mut scheduler = Scheduler::new(Rc::new(model), None, || 0.0);
    let request =
        r#"{"kind":"kv","layers":[0,2],"heads":[1],"range":{"start":60},"samples":[-1,3]}"#;
    let result = run(&mut scheduler, request, &[&text]).unwrap();
    assert_eq!(result.value["dtype"], "q8");
    assert_eq!(result.value["tokensEvaluated"], 70);
    assert_eq!(result.value["blocks"], 3);
    assert_eq!(result.value["bytes"], 3 * kv.block_bytes());
    let array = |name: &str| {
        let array = result.array(name).unwrap();
        match &array.data {
            ArrayData::F32(data) => (array.shape.clone(), data.clone()),
            other => panic!("{other:?}"),
        }
    };
    let head = |numbers: &[f32], position: usize| numbers[position * 42 + 14..][..14].to_vec();
    let (shape, samples) = array("values");
    assert_eq!(shape, [2, 1, 2, 14]);
    assert_eq!(samples[28..42], head(&values, 69));
    assert_eq!(samples[42..], head(&values, 3));
    let (shape, norms) = array("keyNorms");
    assert_eq!(shape, [2, 1, 10]);
    let statistics = &result.value["statistics"][1];
    assert_eq!(
        (&statistics["layer"], &statistics["head"]),
        (&2.into(), &1.into())
    );
    let mut most = f32::NEG_INFINITY;
    for position in 60..70 {
        let key = head(&keys, position);
        let norm = key
            .iter()
            .map(|&x| f64::from(x) * f64::from(x))
            .sum::<f64>();
        assert_eq!(norms[10 + position - 60], norm.sqrt() as f32);
        most = key.into_iter().fold(most, f32::max);
    }
    assert_eq!(statistics["keys"]["max"].as_f64().unwrap() as f32, most);
    // Now it is known.
    let again = run(&mut scheduler, request, &[&text]).unwrap();
    assert_eq!(again.value["tokensEvaluated"], 0);
}
