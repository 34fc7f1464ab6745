// (CAP * tanh(score / CAP), its derivative 1 - tanh(score / CAP)^2); without CAPPED (score, 1).
// Written with exp(-2|t|), which cannot overflow as some drivers' tanh does, and whose derivative keeps its digits
// where tanh is nearly 1; a series where tanh is small and 1 - exp(-2|t|) would cancel.
fn softcapped(score: f32) -> vec2<f32> {
  if (!CAPPED) { return vec2<f32>(score, 1.0); }
  let t = score / CAP;
  let e = exp(-2.0 * abs(t));
  // At most 1, so that the series is finite where it is not used.
  let w = min(t * t, 1.0);
  let series = t * (1.0 + w * (-1.0 / 3.0 + w * (2.0 / 15.0 + w * (-17.0 / 315.0 + w * (62.0 / 2835.0)))));
  let value = select(sign(t) * (1.0 - e) / (1.0 + e), series, w < 0.0625);
  return vec2<f32>(CAP * value, 4.0 * e / ((1.0 + e) * (1.0 + e)));
}
