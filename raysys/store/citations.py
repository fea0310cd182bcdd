"""Whom to cite for what a run used."""

from raysys.store.manifest import NO_SAMPLER, Manifest

_METHODS = {
    "ideal": "J. Zhang, C. Chen, L. Lyu. IDEAL: Query-Efficient Data-Free Learning from Black-Box Models."
    " ICLR 2023.",
    "dfme": "J.-B. Truong, P. Maini, R. J. Walls, N. Papernot. Data-Free Model Extraction. CVPR 2021.",
    "db3kd": "Z. Wang. Zero-Shot Knowledge Distillation from a Decision-Based Black-Box Model. ICML 2021.",
    "zsdb3kd": "Z. Wang. Zero-Shot Knowledge Distillation from a Decision-Based Black-Box Model. ICML 2021.",
    "surrogate": "T. Orekondy, B. Schiele, M. Fritz. Knockoff Nets: Stealing Functionality of Black-Box"
    " Models. CVPR 2019.",
}
_SAMPLERS = {
    "tpe": "J. Bergstra, R. Bardenet, Y. Bengio, B. Kégl. Algorithms for Hyper-Parameter Optimization."
    " NIPS 2011.",
    "nsga2": "K. Deb, A. Pratap, S. Agarwal, T. Meyarivan. A Fast and Elitist Multiobjective Genetic"
    " Algorithm: NSGA-II. IEEE Transactions on Evolutionary Computation 6(2), 2002.",
}
_SCHEDULERS = {
    "query-asha": "L. Li, K. Jamieson, A. Rostamizadeh, E. Gonina, J. Ben-tzur, M. Hardt, B. Recht,"
    " A. Talwalkar. A System for Massively Parallel Hyperparameter Tuning. MLSys 2020.",
}
_SEARCH = (
    "T. Akiba, S. Sano, T. Yanase, T. Ohta, M. Koyama. Optuna: A Next-generation Hyperparameter Optimization"
    " Framework. KDD 2019.",
    "R. Liaw, E. Liang, R. Nishihara, P. Moritz, J. E. Gonzalez, I. Stoica. Tune: A Research Platform for"
    " Distributed Model Selection and Training. arXiv:1807.05118, 2018.",
)


def citations(manifest: Manifest) -> list[str]:
    """References of the method, and of the search if there was one; none of a method of another package."""
    searched = manifest.sampler != NO_SAMPLER
    found = (
        _METHODS.get(manifest.method),
        _SAMPLERS.get(manifest.sampler),
        _SCHEDULERS.get(manifest.scheduler),
        *(_SEARCH if searched else ()),
    )
    return [reference for reference in found if reference]
