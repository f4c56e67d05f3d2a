// prompts.c - see prompts.h. Written for this project; about as long as one another. A changed text is another measure:
// raise the version of those that use them (m_meta.c).
#include "analysis/measure/prompts.h"

const hy_prompt hy_prompts[HY_PROMPTS] = {
    {"article",
     "The old harbour is quiet in winter. Most of the boats have been pulled up on the shingle, and the men who work "
     "on "
     "them in summer mend nets in the long shed behind the church. Last week the council decided to rebuild the "
     "eastern "
     "wall, which has leaned towards the sea since the storm of three years ago. Stone will come from the quarry at "
     "the "
     "head of the valley, as it did when the wall was first built. The work is expected to take until autumn, and the "
     "ferry will land at the northern pier meanwhile. Shopkeepers near the eastern wall fear that fewer visitors will "
     "walk past their doors; the mayor answers that without a wall there would soon be no doors to walk past.\n"},
    {"maths",
     "Let n be a positive integer and let S(n) = 1 + 2 + ... + n. Claim: S(n) = n (n + 1) / 2. For n = 1 both sides "
     "are 1. Suppose that the claim holds for n. Then S(n + 1) = S(n) + (n + 1) = n (n + 1) / 2 + (n + 1) = (n + 1) (n "
     "/ 2 + 1) = (n + 1) (n + 2) / 2, which is the claim for n + 1. So it holds for every n. For example S(4) = 4 * 5 "
     "/ 2 = 10 and S(100) = 100 * 101 / 2 = 5050. The same idea gives the sum of squares: 1^2 + 2^2 + ... + n^2 = n (n "
     "+ 1) (2 n + 1) / 6. With n = 3 the left side is 1 + 4 + 9 = 14 and the right side is 3 * 4 * 7 / 6 = 84 / 6 = "
     "14. If x + y = 12 and x - y = 4, then 2 x = 16, so x = 8 and y = 4.\n"},
    {"code",
     "#include <stdio.h>\n\n/* Greatest common divisor by Euclid's algorithm. */\nstatic int gcd(int a, int b) {\n    "
     "while (b != 0) {\n        int rest = a % b;\n        a = b;\n        b = rest;\n    }\n    return a;\n}\n\n"
     "static int count(const int *list, int n, int value) {\n    int found = 0;\n    for (int i = 0; i < n; i++)\n"
     "        if (list[i] == value) found++;\n    return found;\n}\n\nint main(void) {\n    int list[] = {12, 18, 30, "
     "18};\n    int n = sizeof list / sizeof list[0];\n    for (int i = 1; i < n; i++)\n        printf(\"gcd(%d, %d) "
     "= %d\\n\", list[i - 1], list[i], gcd(list[i - 1], list[i]));\n    printf(\"18 occurs %d times\\n\", count(list, "
     "n, 18));\n    return 0;\n}\n"},
};
