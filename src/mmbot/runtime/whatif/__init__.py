"""
Counterfactual replay: the market of a run once more, with one thing changed.

    own         our orders as the run had them, taken out of the market
    fold        a journal in one pass: the market without us, and what the run did (market)
    simulate    one engine in that market, its orders answered by the recorded market
    figures     what a run was in numbers, the same for the real one and the simulated
    compare     real, unchanged and changed side by side; every mechanism left out in turn
    flips       short windows of a run once more, for its report
    render      tables for a person
"""
