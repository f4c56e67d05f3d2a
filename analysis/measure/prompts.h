// prompts.h - short texts of several kinds, for measures that compare what a model of text does with each.
#ifndef HY_PROMPTS_H
#define HY_PROMPTS_H

typedef struct {
    const char *kind, *text;  // "article", "maths", "code"; ASCII
} hy_prompt;
enum { HY_PROMPTS = 3 };
extern const hy_prompt hy_prompts[HY_PROMPTS];
#endif
