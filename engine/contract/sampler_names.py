"""The samplers of diffusion models, by the names that presets, forms and plots use. What each is: one line."""

from typing import Literal

#: Ours, each a page that reads like its paper, and those of `diffusers`, by the names that other tools know them by.
Sampler = Literal[
    "ddim",
    "ddpm",
    "ode_euler",
    "ode_heun",
    "ode_rk4",
    "sde_euler",
    "dpmpp_2m",
    "dpmpp_2m_karras",
    "dpmpp_sde",
    "unipc",
    "euler",
    "euler_karras",
    "euler_a",
    "heun",
    "heun_karras",
    "flow_euler",
]

#: Sampler -> what it is. In the order of a menu.
SAMPLERS: dict[str, str] = {
    "ddim": "DDIM (2010.02502): without chance at eta 0, like DDPM at eta 1",
    "ddpm": "DDPM (2006.11239), respaced to the number of steps: noise at each",
    "ode_euler": "probability-flow ODE (2011.13456) in continuous time, Euler: order 1",
    "ode_heun": "probability-flow ODE, Heun: order 2, two looks a step",
    "ode_rk4": "probability-flow ODE, classical Runge-Kutta: order 4, four looks a step",
    "sde_euler": "reverse SDE (2011.13456) in continuous time, Euler-Maruyama; wants 100 steps or more",
    "dpmpp_2m": "DPM-Solver++ 2M (2211.01095): what most tools take for 10 to 30 steps",
    "dpmpp_2m_karras": "DPM-Solver++ 2M at the noise levels of Karras et al. (2206.00364)",
    "dpmpp_sde": "DPM-Solver++ 2M with noise at each step",
    "unipc": "UniPC (2302.04867): strong at 5 to 10 steps",
    "euler": "Euler in the noise level (2206.00364)",
    "euler_karras": "Euler at the noise levels of Karras et al.",
    "euler_a": "Euler, ancestral: noise at each step",
    "heun": "Heun in the noise level (2206.00364): order 2, two looks a step",
    "heun_karras": "Heun at the noise levels of Karras et al.",
    "flow_euler": "Euler along the straight paths of flow matching (2210.02747)",
}

#: Written here, in engine/diffusion; the others are diffusers'.
OWN: tuple[str, ...] = ("ddim", "ddpm", "ode_euler", "ode_heun", "ode_rk4", "sde_euler")

#: Those whose samples are not a function of the starting noise alone. DDIM joins them when its eta is above 0.
DRAWING_NOISE: tuple[str, ...] = ("ddpm", "sde_euler", "dpmpp_sde", "euler_a")
