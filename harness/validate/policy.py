"""Define how far a compiled model may be from PyTorch: not at all, or by a share of words and a change of PER.

Float32 must give PyTorch's tokens. Weights in fewer bits make another, close model. Some words change, and it matters
how many, and whether the pronunciations got worse.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TolerancePolicy:
    """Hold the limits of a comparison.

    ``agreement`` is the least share of words with PyTorch's tokens; declared ties count as equal. ``per_change`` is the
    most by which the phoneme error rate may exceed PyTorch's, as a fraction (0.001 is 0.1 points).
    """

    agreement: float = 1.0
    per_change: float = 0.0

    @property
    def exact(self) -> bool:
        return self.agreement >= 1.0

    def shortcomings(self, *, words: int, differing: int, per: float | None, expected_per: float | None) -> list[str]:
        """Return why a comparison is not good enough; empty if it is. PERs are None without gold pronunciations."""
        if self.exact:
            return [f"{differing} of {words} words differ"] if differing else []
        found = []
        if words and (words - differing) / words < self.agreement:
            found.append(
                f"{words - differing} of {words} words agree ({(words - differing) / words:.2%}), "
                f"at least {self.agreement:.2%} have to"
            )
        if per is not None and expected_per is not None and per - expected_per > self.per_change:
            found.append(
                f"PER is {per:.2%}, PyTorch's {expected_per:.2%}: {100 * (per - expected_per):+.2f} points, "
                f"at most {100 * self.per_change:+.2f} may be"
            )
        return found


EXACT = TolerancePolicy()
CLOSE = TolerancePolicy(agreement=0.98, per_change=0.005)
"""The default for float16 and int8. Over the 130 shipped words one word is 0.8 % of the agreement, and one phoneme is
0.1 points of PER. Tighter limits need more words (docs/results.md)."""
