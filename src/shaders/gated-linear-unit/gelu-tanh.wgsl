// gelu(x) = x / 2 * (1 + tanh(u)), u = sqrt(2 / pi) * (x + 0.044715 x^3), the approximation that PyTorch calls tanh.
// (1 + tanh(u)) / 2 = sigmoid(2u) = s: gelu(x) = x * s, derivative s * (1 + x * (1 - s) * 2u').
fn twice_u(x: vecN) -> vecN { return 1.5957691216057308 * x * (1.0 + 0.044715 * x * x); }
fn activation(x: vecN) -> vecN { return x * sigmoid(twice_u(x)); }
fn activation_slope(x: vecN) -> vecN {
  let u = twice_u(x);
  return sigmoid(u) * (1.0 + x * sigmoid(-u) * (1.5957691216057308 * (1.0 + 0.134145 * x * x)));
}
