// 1 / (1 + exp(-x)); the exponential's argument is never positive, so it cannot overflow.
fn sigmoid(x: vecN) -> vecN {
  let e = exp(-abs(x));
  return select(vecN(1.0), e, x < vecN(0.0)) / (1.0 + e);
}
