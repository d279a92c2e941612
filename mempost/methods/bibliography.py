"""Every publication that a plugin of mempost comes from, once.

A name is the BibTeX key in capitals, AUTHOR_YEAR_WORD; authors are given names first, in Unicode.
"""

from __future__ import annotations

from mempost.core.publication import Publication

ALPAYDIN_1998_DIGITS = Publication(
    "alpaydin1998digits",
    "Ethem Alpaydin and Cenk Kaynak",
    "Optical recognition of handwritten digits",
    1998,
    "https://doi.org/10.24432/C50P49",
)
BAPTISTA_2025_MEMORIZATION = Publication(
    "baptista2025memorization",
    "Ricardo Baptista and Agnimitra Dasgupta and Nikola B. Kovachki and Assad Oberai and "
    "Andrew M. Stuart",
    "Memorization and Regularization in Generative Diffusion Models",
    2025,
    "https://arxiv.org/abs/2501.15785",
)
BONNEEL_2015_SLICED = Publication(
    "bonneel2015sliced",
    "Nicolas Bonneel and Julien Rabin and Gabriel Peyré and Hanspeter Pfister",
    "Sliced and Radon Wasserstein Barycenters of Measures",
    2015,
    "https://doi.org/10.1007/s10851-014-0506-3",
)
BOYS_2023_TMPD = Publication(
    "boys2023tmpd",
    "Benjamin Boys and Mark Girolami and Jakiw Pidstrigach and Sebastian Reich and Alan Mosca "
    "and O. Deniz Akyildiz",
    "Tweedie moment projected diffusions for inverse problems",
    2023,
    "https://arxiv.org/abs/2310.06721",
)
BURNS_2026_LENS = Publication(
    "burns2026lens",
    "Benjamin A. Burns and Sara Fridovich-Keil",
    "When, why, and how do diffusion posterior samplers fail? A finite-sample lens",
    2026,
    "https://arxiv.org/abs/2605.30330",
)
CHOPIN_2020_SMC = Publication(
    "chopin2020smc",
    "Nicolas Chopin and Omiros Papaspiliopoulos",
    "An introduction to sequential Monte Carlo",
    2020,
    "https://doi.org/10.1007/978-3-030-47845-2",
)
CHUNG_2023_DPS = Publication(
    "chung2023dps",
    "Hyungjin Chung and Jeongsol Kim and Michael T. Mccann and Marc L. Klasky and Jong Chul Ye",
    "Diffusion posterior sampling for general noisy inverse problems",
    2023,
    "https://arxiv.org/abs/2209.14687",
)
COHEN_1960_COEFFICIENT = Publication(
    "cohen1960coefficient",
    "Jacob Cohen",
    "A Coefficient of Agreement for Nominal Scales",
    1960,
    "https://doi.org/10.1177/001316446002000104",
)
COTTER_2013_MCMC = Publication(
    "cotter2013mcmc",
    "Simon L. Cotter and Gareth O. Roberts and Andrew M. Stuart and David White",
    "MCMC methods for functions: modifying old algorithms to make them faster",
    2013,
    "https://doi.org/10.1214/13-STS421",
)
DASHTI_2017_BAYESIAN = Publication(
    "dashti2017bayesian",
    "Masoumeh Dashti and Andrew M. Stuart",
    "The Bayesian Approach to Inverse Problems",
    2017,
    "https://doi.org/10.1007/978-3-319-12385-1_7",
)
DELMORAL_2006_SMC = Publication(
    "delmoral2006smc",
    "Pierre Del Moral and Arnaud Doucet and Ajay Jasra",
    "Sequential Monte Carlo samplers",
    2006,
    "https://doi.org/10.1111/j.1467-9868.2006.00553.x",
)
DORMAND_1980_RUNGE = Publication(
    "dormand1980runge",
    "J. R. Dormand and P. J. Prince",
    "A family of embedded Runge-Kutta formulae",
    1980,
    "https://doi.org/10.1016/0771-050X(80)90013-3",
)
GRETTON_2012_KERNEL = Publication(
    "gretton2012kernel",
    "Arthur Gretton and Karsten M. Borgwardt and Malte J. Rasch and Bernhard Schölkopf and "
    "Alexander Smola",
    "A Kernel Two-Sample Test",
    2012,
    "https://jmlr.org/papers/v13/gretton12a.html",
)
GU_2025_MEMORIZATION = Publication(
    "gu2025memorization",
    "Xiangming Gu and Chao Du and Tianyu Pang and Chongxuan Li and Min Lin and Ye Wang",
    "On Memorization in Diffusion Models",
    2025,
    "https://arxiv.org/abs/2310.02664",
)
HILL_1973_DIVERSITY = Publication(
    "hill1973diversity",
    "M. O. Hill",
    "Diversity and evenness: a unifying notation and its consequences",
    1973,
    "https://doi.org/10.2307/1934352",
)
HO_2020_DENOISING = Publication(
    "ho2020denoising",
    "Jonathan Ho and Ajay Jain and Pieter Abbeel",
    "Denoising diffusion probabilistic models",
    2020,
    "https://arxiv.org/abs/2006.11239",
)
JALAL_2021_MRI = Publication(
    "jalal2021mri",
    "Ajil Jalal and Marius Arvinte and Giannis Daras and Eric Price and Alexandros G. Dimakis "
    "and Jonathan I. Tamir",
    "Robust compressed sensing MRI with deep generative priors",
    2021,
    "https://arxiv.org/abs/2108.01368",
)
JASRA_2011_INFERENCE = Publication(
    "jasra2011inference",
    "Ajay Jasra and David A. Stephens and Arnaud Doucet and Theodoros Tsagaris",
    "Inference for Lévy-driven stochastic volatility models via adaptive sequential Monte Carlo",
    2011,
    "https://doi.org/10.1111/j.1467-9469.2010.00723.x",
)
KARRAS_2022_EDM = Publication(
    "karras2022edm",
    "Tero Karras and Miika Aittala and Timo Aila and Samuli Laine",
    "Elucidating the design space of diffusion-based generative models",
    2022,
    "https://arxiv.org/abs/2206.00364",
)
KAWAR_2022_DDRM = Publication(
    "kawar2022ddrm",
    "Bahjat Kawar and Michael Elad and Stefano Ermon and Jiaming Song",
    "Denoising diffusion restoration models",
    2022,
    "https://arxiv.org/abs/2201.11793",
)
LANGE_1989_ROBUST = Publication(
    "lange1989robust",
    "Kenneth L. Lange and Roderick J. A. Little and Jeremy M. G. Taylor",
    "Robust statistical modeling using the t distribution",
    1989,
    "https://doi.org/10.2307/2290063",
)
LEMOS_2023_SAMPLING = Publication(
    "lemos2023sampling",
    "Pablo Lemos and Adam Coogan and Yashar Hezaveh and Laurence Perreault-Levasseur",
    "Sampling-Based Accuracy Testing of Posterior Estimators for General Inference",
    2023,
    "https://arxiv.org/abs/2302.03026",
)
LIPMAN_2023_FLOW = Publication(
    "lipman2023flow",
    "Yaron Lipman and Ricky T. Q. Chen and Heli Ben-Hamu and Maximilian Nickel and Matt Le",
    "Flow matching for generative modeling",
    2023,
    "https://arxiv.org/abs/2210.02747",
)
LIU_2023_RECTIFIED = Publication(
    "liu2023rectified",
    "Xingchao Liu and Chengyue Gong and Qiang Liu",
    "Flow straight and fast: learning to generate and transfer data with rectified flow",
    2023,
    "https://arxiv.org/abs/2209.03003",
)
LI_2021_FOURIER = Publication(
    "li2021fourier",
    "Zongyi Li and Nikola Kovachki and Kamyar Azizzadenesheli and Burigede Liu and Kaushik "
    "Bhattacharya and Andrew Stuart and Anima Anandkumar",
    "Fourier neural operator for parametric partial differential equations",
    2021,
    "https://arxiv.org/abs/2010.08895",
)
LOPEZPAZ_2017_REVISITING = Publication(
    "lopezpaz2017revisiting",
    "David Lopez-Paz and Maxime Oquab",
    "Revisiting Classifier Two-Sample Tests",
    2017,
    "https://arxiv.org/abs/1610.06545",
)
MODRAK_2023_SIMULATION = Publication(
    "modrak2023simulation",
    "Martin Modrák and Angie H. Moon and Shinyoung Kim and Paul Bürkner and Niko Huurre and "
    "Kateřina Faltejsková and Andrew Gelman and Aki Vehtari",
    "Simulation-Based Calibration Checking for Bayesian Computation: The Choice of Test "
    "Quantities Shapes Sensitivity",
    2023,
    "https://doi.org/10.1214/23-BA1404",
)
NICHOL_2021_IMPROVED = Publication(
    "nichol2021improved",
    "Alex Nichol and Prafulla Dhariwal",
    "Improved denoising diffusion probabilistic models",
    2021,
    "https://arxiv.org/abs/2102.09672",
)
PLESSIX_2006_REVIEW = Publication(
    "plessix2006review",
    "R.-E. Plessix",
    "A review of the adjoint-state method for computing the gradient of a functional with "
    "geophysical applications",
    2006,
    "https://doi.org/10.1111/j.1365-246X.2006.02978.x",
)
ROBERTS_1996_LANGEVIN = Publication(
    "roberts1996langevin",
    "Gareth O. Roberts and Richard L. Tweedie",
    "Exponential convergence of Langevin distributions and their discrete approximations",
    1996,
    "https://doi.org/10.2307/3318418",
)
ROBERTS_1998_SCALING = Publication(
    "roberts1998scaling",
    "Gareth O. Roberts and Jeffrey S. Rosenthal",
    "Optimal scaling of discrete approximations to Langevin diffusions",
    1998,
    "https://doi.org/10.1111/1467-9868.00123",
)
ROZET_2024_MMPS = Publication(
    "rozet2024mmps",
    "François Rozet and Gérôme Andry and François Lanusse and Gilles Louppe",
    "Learning diffusion priors from observations by expectation maximization",
    2024,
    "https://arxiv.org/abs/2405.13712",
)
SAILYNOJA_2022_GRAPHICAL = Publication(
    "sailynoja2022graphical",
    "Teemu Säilynoja and Paul-Christian Bürkner and Aki Vehtari",
    "Graphical test for discrete uniformity and its applications in goodness-of-fit evaluation "
    "and multiple sample comparison",
    2022,
    "https://doi.org/10.1007/s11222-022-10090-6",
)
SCARVELIS_2025_CLOSED = Publication(
    "scarvelis2025closed",
    "Christopher Scarvelis and Haitz Sáez de Ocáriz Borde and Justin Solomon",
    "Closed-Form Diffusion Models",
    2025,
    "https://arxiv.org/abs/2310.12395",
)
SIAHKOOHI_2026_MEMORIZATION = Publication(
    "siahkoohi2026memorization",
    "Ali Siahkoohi and Davide Sabeddu",
    "On the role of memorization in learned priors for geophysical inverse problems",
    2026,
    "https://arxiv.org/abs/2603.19629",
)
SONG_2019_NCSN = Publication(
    "song2019ncsn",
    "Yang Song and Stefano Ermon",
    "Generative modeling by estimating gradients of the data distribution",
    2019,
    "https://arxiv.org/abs/1907.05600",
)
SONG_2021_DDIM = Publication(
    "song2021ddim",
    "Jiaming Song and Chenlin Meng and Stefano Ermon",
    "Denoising diffusion implicit models",
    2021,
    "https://arxiv.org/abs/2010.02502",
)
SONG_2021_SCORE = Publication(
    "song2021score",
    "Yang Song and Jascha Sohl-Dickstein and Diederik P. Kingma and Abhishek Kumar and Stefano "
    "Ermon and Ben Poole",
    "Score-based generative modeling through stochastic differential equations",
    2021,
    "https://arxiv.org/abs/2011.13456",
)
SONG_2023_PIGDM = Publication(
    "song2023pigdm",
    "Jiaming Song and Arash Vahdat and Morteza Mardani and Jan Kautz",
    "Pseudoinverse-guided diffusion models for inverse problems",
    2023,
    "https://openreview.net/forum?id=9_gsMA8MRKQ",
)
SORENSON_1971_RECURSIVE = Publication(
    "sorenson1971recursive",
    "Harold W. Sorenson and Daniel L. Alspach",
    "Recursive Bayesian estimation using Gaussian sums",
    1971,
    "https://doi.org/10.1016/0005-1098(71)90097-5",
)
SZEKELY_2013_ENERGY = Publication(
    "szekely2013energy",
    "Gábor J. Székely and Maria L. Rizzo",
    "Energy statistics: A class of statistics based on distances",
    2013,
    "https://doi.org/10.1016/j.jspi.2013.03.018",
)
TALTS_2018_VALIDATING = Publication(
    "talts2018validating",
    "Sean Talts and Michael Betancourt and Daniel Simpson and Aki Vehtari and Andrew Gelman",
    "Validating Bayesian Inference Algorithms with Simulation-Based Calibration",
    2018,
    "https://arxiv.org/abs/1804.06788",
)
TITSIAS_2023_FISHER = Publication(
    "titsias2023fisher",
    "Michalis K. Titsias",
    "Optimal preconditioning and Fisher adaptive Langevin sampling",
    2023,
    "https://arxiv.org/abs/2305.14442",
)
VEHTARI_2021_RANK = Publication(
    "vehtari2021rank",
    "Aki Vehtari and Andrew Gelman and Daniel Simpson and Bob Carpenter and Paul-Christian Bürkner",
    "Rank-normalization, folding, and localization: An improved R-hat for assessing convergence "
    "of MCMC",
    2021,
    "https://doi.org/10.1214/20-BA1221",
)
VEHTARI_2024_PARETO = Publication(
    "vehtari2024pareto",
    "Aki Vehtari and Daniel Simpson and Andrew Gelman and Yuling Yao and Jonah Gabry",
    "Pareto smoothed importance sampling",
    2024,
    "https://jmlr.org/papers/v25/19-556.html",
)
VILLANI_2009_OPTIMAL = Publication(
    "villani2009optimal",
    "Cédric Villani",
    "Optimal Transport: Old and New",
    2009,
    "https://doi.org/10.1007/978-3-540-71050-9",
)
VINCENT_2011_CONNECTION = Publication(
    "vincent2011connection",
    "Pascal Vincent",
    "A connection between score matching and denoising autoencoders",
    2011,
    "https://doi.org/10.1162/NECO_a_00142",
)
VIRIEUX_2009_OVERVIEW = Publication(
    "virieux2009overview",
    "Jean Virieux and Stephane Operto",
    "An overview of full-waveform inversion in exploration geophysics",
    2009,
    "https://doi.org/10.1190/1.3238367",
)
YOON_2023_DIFFUSION = Publication(
    "yoon2023diffusion",
    "TaeHo Yoon and Joo Young Choi and Sehyun Kwon and Ernest K. Ryu",
    "Diffusion Probabilistic Models Generalize when They Fail to Memorize",
    2023,
    "https://openreview.net/forum?id=shciCbSk9h",
)
ZHANG_2009_EFFICIENT = Publication(
    "zhang2009efficient",
    "Jin Zhang and Michael A. Stephens",
    "A new and efficient estimation method for the generalized Pareto distribution",
    2009,
    "https://doi.org/10.1198/tech.2009.08017",
)
ZHANG_2024_DAPS = Publication(
    "zhang2024daps",
    "Bingliang Zhang and Wenda Chu and Julius Berner and Chenlin Meng and Anima Anandkumar and "
    "Yang Song",
    "Improving diffusion inverse problem solving with decoupled noise annealing",
    2024,
    "https://arxiv.org/abs/2407.01521",
)
ZHU_2023_DIFFPIR = Publication(
    "zhu2023diffpir",
    "Yuanzhi Zhu and Kai Zhang and Jingyun Liang and Jiezhang Cao and Bihan Wen and Radu "
    "Timofte and Luc Van Gool",
    "Denoising diffusion models for plug-and-play image restoration",
    2023,
    "https://arxiv.org/abs/2305.08995",
)
