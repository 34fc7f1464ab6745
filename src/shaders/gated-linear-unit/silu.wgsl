// silu(x) = x * s and its derivative s * (1 + x * (1 - s)), s = sigmoid(x); 1 - s = sigmoid(-x), without the cancellation
// where s is near 1.
fn activation(x: vecN) -> vecN { return x * sigmoid(x); }
fn activation_slope(x: vecN) -> vecN { return sigmoid(x) * (1.0 + x * sigmoid(-x)); }
