// groupSum: the sum of one value a lane over a workgroup of GROUP = ROOT * ROOT lanes, in the same order each time.
// Two barriers; every lane gets the sum. Safe to call again at once: what a call reads after its second barrier
// the next call overwrites only after its own first.
var<workgroup> laneValues: array<f32, GROUP>;
var<workgroup> rootSums: array<f32, ROOT>;

fn groupSum(lane: u32, value: f32) -> f32 {
  laneValues[lane] = value;
  workgroupBarrier();
  if (lane < ROOT) {
    var sum = 0.0;
    for (var i = 0u; i < ROOT; i++) { sum += laneValues[lane * ROOT + i]; }
    rootSums[lane] = sum;
  }
  workgroupBarrier();
  var sum = 0.0;
  for (var i = 0u; i < ROOT; i++) { sum += rootSums[i]; }
  return sum;
}
