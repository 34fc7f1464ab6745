// groupMax: the largest of one value a lane over a workgroup of GROUP = ROOT * ROOT lanes. Two barriers.
var<workgroup> laneMaxima: array<f32, GROUP>;
var<workgroup> rootMaxima: array<f32, ROOT>;

fn groupMax(lane: u32, value: f32) -> f32 {
  laneMaxima[lane] = value;
  workgroupBarrier();
  if (lane < ROOT) {
    var largest = laneMaxima[lane * ROOT];
    for (var i = 1u; i < ROOT; i++) { largest = max(largest, laneMaxima[lane * ROOT + i]); }
    rootMaxima[lane] = largest;
  }
  workgroupBarrier();
  var largest = rootMaxima[0];
  for (var i = 1u; i < ROOT; i++) { largest = max(largest, rootMaxima[i]); }
  return largest;
}
